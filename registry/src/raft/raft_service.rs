//! The server's side of consensus: hands peers' messages to this node's Raft.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use openraft::raft::TransferLeaderRequest;
use rollcall_proto::peer::{self, raft_service_server::RaftService};
use tonic::{Request, Response, Status, Streaming};

use super::{consensus::Consensus, door::Door, entry_codec::EntryCodecError, snapshot_transfer, wire};
use crate::{
    faults::{self, Switch},
    model::ids::NodeId,
};

/// Serves `rollcall.peer.v1.RaftService`.
pub(super) struct RaftServer {
    pub(super) door: Door,
}

impl RaftServer {
    /// This node's Raft, for a request that is meant for it.
    #[allow(clippy::result_large_err)]
    fn admit<T>(&self, request: &Request<T>) -> Result<(Consensus, NodeId), Status> {
        if faults::is_on(Switch::RaftCut) {
            return Err(Status::unavailable("cut off on purpose"));
        }
        let consensus = self.door.consensus()?;
        let source = consensus.seat().verify(request.metadata())?;
        self.door.refuse_removed(source)?;
        self.door.refuse_unless_sound()?;
        Ok((consensus, source))
    }
}

#[tonic::async_trait]
impl RaftService for RaftServer {
    async fn vote(
        &self,
        request: Request<peer::VoteRequest>,
    ) -> Result<Response<peer::VoteResponse>, Status> {
        let (consensus, candidate) = self.admit(&request)?;
        let request = wire::vote_request_from_proto(request.into_inner()).map_err(malformed)?;
        let is_handed_over = request.leadership_transfer;
        let response = consensus.raft.vote(request).await.map_err(stopped)?;
        if is_handed_over && response.vote_granted {
            tracing::info!(%candidate, "votes for the node that its leader hands leadership to");
        }
        Ok(Response::new(wire::vote_response_to_proto(&response)))
    }

    async fn pre_vote(
        &self,
        request: Request<peer::PreVoteRequest>,
    ) -> Result<Response<peer::PreVoteResponse>, Status> {
        let (consensus, _) = self.admit(&request)?;
        let request = request.into_inner().request.ok_or(EntryCodecError::Missing("request"));
        let request = wire::vote_request_from_proto(request.map_err(malformed)?).map_err(malformed)?;
        let response = consensus.raft.pre_vote(request).await.map_err(stopped)?;
        Ok(Response::new(peer::PreVoteResponse { response: Some(wire::vote_response_to_proto(&response)) }))
    }

    type AppendStream = Pin<Box<dyn Stream<Item = Result<peer::AppendResponse, Status>> + Send>>;

    async fn append(
        &self,
        request: Request<Streaming<peer::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let (consensus, source) = self.admit(&request)?;
        // A stream that breaks ends the append; the leader opens another one and finds out where to go on.
        let requests = futures::stream::unfold(request.into_inner(), move |mut requests| async move {
            let request = requests.message().await;
            if faults::is_on(Switch::RaftCut) {
                return None;
            }
            let request =
                request.inspect_err(|error| tracing::debug!(%source, %error, "append stream broke"));
            let request = wire::append_request_from_proto(request.ok()??);
            let request = request.inspect_err(|error| tracing::error!(%source, %error, "malformed append"));
            Some((request.ok()?, requests))
        });
        let responses = consensus.raft.stream_append(requests);
        let responses = responses.map(|result| match result {
            Ok(result) => Ok(wire::append_result_to_proto(&result)),
            Err(fatal) => Err(stopped(fatal)),
        });
        Ok(Response::new(Box::pin(responses)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<peer::InstallSnapshotRequest>>,
    ) -> Result<Response<peer::InstallSnapshotResponse>, Status> {
        let (consensus, source) = self.admit(&request)?;
        tracing::info!(%source, "receiving a snapshot");
        let (vote, snapshot) =
            snapshot_transfer::receive(request.into_inner(), &self.door.snapshots()).await?;
        let response = consensus.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        Ok(Response::new(peer::InstallSnapshotResponse { vote: Some(wire::vote_to_proto(&response.vote)) }))
    }

    async fn transfer_leader(
        &self,
        request: Request<peer::TransferLeaderRequest>,
    ) -> Result<Response<peer::TransferLeaderResponse>, Status> {
        let (consensus, leader) = self.admit(&request)?;
        let request = request.into_inner();
        let to = request.to_node_id;
        let transfer = TransferLeaderRequest::new(
            wire::vote_from_proto(request.from_leader).map_err(malformed)?,
            request.to_node_id,
            request.last_log_id.map(wire::log_id_from_proto),
        );
        let accepted = consensus.raft.handle_transfer_leader(transfer).await.map_err(stopped)?;
        // The others are told as well, so that they vote for it at once.
        if to == consensus.seat().node.0 {
            match &accepted {
                Ok(()) => tracing::info!(%leader, "takes leadership over from a leader that hands it on"),
                Err(error) => tracing::info!(%leader, ?error, "does not take leadership over"),
            }
        }
        Ok(Response::new(peer::TransferLeaderResponse { accepted: accepted.is_ok() }))
    }
}

fn malformed(error: EntryCodecError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("consensus has stopped: {error}"))
}
