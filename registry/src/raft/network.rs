//! openraft's view of the other nodes: votes, pipelined appends, snapshots and transfers over gRPC.
//!
//! Every call has a deadline of its own (openraft only suggests one), says which node it means to reach, and answers
//! `Unreachable` when the peer is not there, so that openraft backs off.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt};
use openraft::{
    AnyError, RaftNetworkFactory, RaftNetworkV2,
    base::{BoxFuture, BoxStream},
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
        TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use rollcall_proto::peer::{self, raft_service_client::RaftServiceClient};
use tonic::{Request, Status};

use super::{
    channels::{Channels, Purpose},
    entry_codec::EntryCodecError,
    expulsion::Expulsion,
    identity::Seat,
    line::Line,
    purge_floor::PurgeFloor,
    snapshot::SnapshotData,
    snapshot_transfer,
    type_config::{Member, Snapshot, TypeConfig, Vote},
    wire,
};
use crate::{
    limits::{APPEND_PROGRESS, PEER_MESSAGE_BYTES, SNAPSHOT_DEADLINE},
    model::ids::NodeId,
    routes::Routes,
};

type RpcError = RPCError<TypeConfig>;
type Appended = Result<StreamAppendResult<TypeConfig>, RpcError>;

/// Makes openraft's clients, one per peer and purpose.
#[derive(Clone)]
pub(super) struct NetworkFactory {
    pub(super) seat: Seat,
    pub(super) channels: Channels,
    pub(super) routes: Routes,
    pub(super) expulsion: Expulsion,
    pub(super) floor: PurgeFloor,
}

impl NetworkFactory {
    fn client(&self, target: u64, member: &Member, purpose: Purpose) -> Network {
        Network { factory: self.clone(), target: NodeId(target), member: member.clone(), purpose }
    }
}

impl RaftNetworkFactory<TypeConfig> for NetworkFactory {
    type Network = Network;

    async fn new_client(&mut self, target: u64, node: &Member) -> Network {
        self.client(target, node, Purpose::Append)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Member) -> Network {
        self.client(target, node, Purpose::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Member) -> Network {
        self.client(target, node, Purpose::Snapshot)
    }
}

/// One peer, for one purpose.
pub(super) struct Network {
    factory: NetworkFactory,
    target: NodeId,
    member: Member,
    purpose: Purpose,
}

impl Network {
    /// The address that the registry has, or the one that the peer joined with: looked up at each use, because a peer
    /// that moved registers its new one.
    fn address(&self) -> String {
        let known = self.factory.routes.node(self.target).map(|node| node.addresses.peer.clone());
        let registered =
            known.filter(|address| !address.is_empty()).unwrap_or_else(|| self.member.peer_addr.clone());
        self.factory.channels.latest(self.target, registered)
    }

    fn client(&self) -> Result<RaftServiceClient<Line>, RpcError> {
        let channel = self.factory.channels.get(self.target, &self.address(), self.purpose);
        let channel = channel.map_err(|error| RPCError::Unreachable(Unreachable::new(&error)))?;
        Ok(RaftServiceClient::new(channel)
            .max_decoding_message_size(PEER_MESSAGE_BYTES)
            .max_encoding_message_size(PEER_MESSAGE_BYTES))
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        self.factory.seat.sign(self.target, request.metadata_mut());
        request
    }

    async fn open_append(
        &self,
        requests: impl Stream<Item = peer::AppendRequest> + Send + 'static,
        patience: Duration,
    ) -> Result<tonic::Streaming<peer::AppendResponse>, RpcError> {
        let mut client = self.client()?;
        let opened = self.within(patience, client.append(self.request(requests))).await?;
        Ok(opened.into_inner())
    }
}

impl Network {
    /// A call's answer, in time. A refusal is looked at: it may say that this node was removed.
    async fn within<T>(
        &self,
        patience: Duration,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, RpcError> {
        match tokio::time::timeout(patience, call).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(status)) => {
                self.factory.expulsion.look_at(&status);
                Err(failed(&status))
            }
            Err(_) => Err(unreachable_because("no answer in time")),
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Network {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        let request = wire::append_request_to_proto(&rpc);
        let patience = option.hard_ttl();
        let mut responses = self.open_append(futures::stream::iter([request]), patience).await?;
        let response = self.within(patience, responses.message()).await?;
        let response = response.ok_or_else(|| unreachable_because("the peer ended the stream"))?;
        Ok(match wire::append_result_from_proto(response).map_err(malformed)? {
            Ok(matching) => AppendEntriesResponse::PartialSuccess(matching),
            Err(StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
            Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Appended>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        Box::pin(async move {
            // openraft waits out its back-off when the first request is taken. A dial that fails takes none, and would
            // be tried again at once, thousands of times a second.
            let Some(first) = input.next().await else {
                return Ok(Box::pin(futures::stream::empty()) as BoxStream<'s, Appended>);
            };
            let input = futures::stream::iter([first]).chain(input);
            let unanswered = Arc::new(AtomicUsize::new(0));
            let sent = Arc::clone(&unanswered);
            let floor = self.factory.floor.clone();
            let requests = input.map(move |request| {
                sent.fetch_add(1, Ordering::AcqRel);
                wire::append_request_to_proto(&request)
            });
            let responses = self.open_append(requests, option.hard_ttl().max(APPEND_PROGRESS)).await?;
            let answers = Answers { responses, unanswered, floor, answered: 0 };
            let answers = futures::stream::unfold(Next::Answer(Box::new(answers)), next_answer);
            Ok(Box::pin(answers) as BoxStream<'s, Appended>)
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let mut client = self.client()?;
        let request = self.request(wire::vote_request_to_proto(&rpc));
        let response = self.within(option.hard_ttl(), client.vote(request)).await?;
        wire::vote_response_from_proto(response.into_inner()).map_err(malformed)
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let mut client = self.client()?;
        let request = peer::PreVoteRequest { request: Some(wire::vote_request_to_proto(&rpc)) };
        let response = self.within(option.hard_ttl(), client.pre_vote(self.request(request))).await?;
        let response = response.into_inner().response.ok_or(EntryCodecError::Missing("response"));
        wire::vote_response_from_proto(response.map_err(malformed)?).map_err(malformed)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let parts = snapshot_transfer::parts(&vote, &snapshot)
            .await
            .map_err(|error| StreamingError::Network(NetworkError::new(&error)))?;
        let mut client = self.client()?;
        let sending = self.within(SNAPSHOT_DEADLINE, client.install_snapshot(self.request(parts)));
        let response = tokio::select! {
            biased;
            response = sending => response?,
            closed = cancel => return Err(StreamingError::Closed(closed)),
        };
        let vote = wire::vote_from_proto(response.into_inner().vote).map_err(malformed)?;
        Ok(SnapshotResponse::new(vote))
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        let mut client = self.client()?;
        let message = peer::TransferLeaderRequest {
            from_leader: Some(wire::vote_to_proto(request.from_leader())),
            to_node_id: *request.to_node_id(),
            last_log_id: request.last_log_id().map(wire::log_id_to_proto),
        };
        let response = self.within(option.hard_ttl(), client.transfer_leader(self.request(message))).await?;
        if response.into_inner().accepted {
            return Ok(Ok(()));
        }
        // The peer's reasons do not cross the wire: openraft only retries on either.
        let expected = request.last_log_id().cloned();
        Ok(Err(TransferLeaderError::LogNotFlushed { expected, actual: None }))
    }
}

/// The answers of an append stream, and what is known of it.
struct Answers {
    responses: tonic::Streaming<peer::AppendResponse>,
    /// Requests that were sent since.
    unanswered: Arc<AtomicUsize>,
    floor: PurgeFloor,
    answered: u64,
}

/// How such a stream goes on.
enum Next {
    Answer(Box<Answers>),
    /// The peer lags too far: it is to get a snapshot instead.
    GiveUp,
    End,
}

impl Answers {
    /// Whether the peer has not yet what the log is to give up. The first answer of a stream may only look for where the logs
    /// part; whoever gets a second one is being sent all that follows.
    fn lags(&self, appended: &Appended) -> bool {
        let matching = match appended {
            Ok(Ok(matching)) => matching.as_ref().map_or(0, |matching| matching.index),
            Ok(Err(_)) | Err(_) => return false,
        };
        self.answered > 1 && self.floor.is_above(matching)
    }
}

/// The next answer of an append stream; an error, and the end, when something was sent and nothing comes back.
async fn next_answer(next: Next) -> Option<(Appended, Next)> {
    let mut answers = match next {
        Next::Answer(answers) => answers,
        Next::GiveUp => {
            let reason = "it is behind what the log keeps, and gets a snapshot";
            return Some((Err(unreachable_because(reason)), Next::End));
        }
        Next::End => return None,
    };
    let next = loop {
        // What was sent into an idle stream a moment before the time ends has a full turn of its own.
        let waits_for = answers.unanswered.load(Ordering::Acquire);
        match tokio::time::timeout(APPEND_PROGRESS, answers.responses.message()).await {
            Ok(next) => break next,
            Err(_) if waits_for > 0 => {
                return Some((Err(unreachable_because("appends stay unanswered")), Next::End));
            }
            Err(_) => {}
        }
    };
    match next {
        Ok(Some(response)) => {
            answers.unanswered.fetch_sub(1, Ordering::AcqRel);
            answers.answered += 1;
            let result = wire::append_result_from_proto(response).map_err(malformed);
            let next = match &result {
                lagging if answers.lags(lagging) => Next::GiveUp,
                Ok(Ok(_)) => Next::Answer(answers),
                Ok(Err(_)) | Err(_) => Next::End,
            };
            Some((result, next))
        }
        Ok(None) => None,
        Err(status) => Some((Err(failed(&status)), Next::End)),
    }
}

/// Any refusal is `Unreachable`: retrying it at once would not help, so openraft is to back off.
fn failed(status: &Status) -> RpcError {
    RPCError::Unreachable(Unreachable::new(status))
}

fn unreachable_because(reason: &'static str) -> RpcError {
    RPCError::Unreachable(Unreachable::new(&AnyError::error(reason)))
}

fn malformed(error: EntryCodecError) -> RpcError {
    RPCError::Network(NetworkError::new(&error))
}
