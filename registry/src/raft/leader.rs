//! What a node asks of the leader, wherever it is: here, or over one connection of its own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rollcall_proto::peer::{
    self, beat_response, compare_response, membership_service_client::MembershipServiceClient,
    propose_response, read_index_response,
};
use tonic::{Request, Status};

use super::{
    channels::{Channels, Purpose},
    consensus::{Consensus, LeaderError},
    entry_size::{self, TooLarge},
    expulsion::Expulsion,
    line::Line,
    logged_command::LoggedCommand,
    membership_wire,
    operator::{Operator, OperatorError},
    record_refusal,
};
use crate::{
    leases::{keeper::KeeperHandle, table::Beat},
    limits::{BATCH_RETRY, LEADER_TIMEOUT, LEASE_BEAT, MEMBERSHIP_TIMEOUT, PEER_MESSAGE_BYTES},
    membership::change::{MembershipChange, MembershipChanged, MembershipError},
    metrics::{NOT_COMMITTED, RAFT_PROPOSAL_SECONDS, RAFT_PROPOSALS_FAILED, REFUSED},
    model::{
        command::Command,
        ids::{Incarnation, LogIndex, NodeId},
        rejection::{CommandRejection, RecordRejection},
        response::Response,
    },
    routes::Routes,
};

/// How soon a change of the membership that met no leader is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// The way to the leader: cheap, cloneable.
#[derive(Clone)]
pub(crate) struct Leader {
    pub(super) consensus: Consensus,
    pub(super) channels: Channels,
    pub(super) routes: Routes,
    pub(super) keeper: KeeperHandle,
    pub(super) operator: Operator,
    pub(super) expulsion: Expulsion,
}

/// A newer leader may refuse for reasons that this version does not know.
const UNKNOWN_REFUSAL: &str = "the leader refuses for a reason that this version does not know";

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proposed {
    /// Committed, and applied at the leader.
    Committed(LogIndex),
    /// Committed, and refused; for people.
    Rejected(String),
    /// Committed, and refused because of the record that it is about.
    RecordRejected(RecordRejection),
}

impl Leader {
    /// Commits a command. Commands are made to be repeated, so an unknown outcome is simply tried again by the caller.
    pub(crate) async fn propose(&self, command: &Arc<Command>) -> Result<Proposed, LeaderError> {
        let (command, begun) = (self.written(command), Instant::now());
        // Not even asked without the feature: an await more makes the futures of all who propose larger.
        #[cfg(feature = "fault-injection")]
        if matches!(*command.command(), Command::Batch(_)) {
            crate::faults::released(crate::faults::Switch::BatchesHeld).await;
        }
        let proposal = async {
            self.consensus.judge_level(&command)?;
            match self.here()? {
                Ok(()) => {
                    let (index, response) = self.consensus.write(command).await?;
                    Ok(match response {
                        Response::Rejected(CommandRejection::Record(rejection)) => {
                            Proposed::RecordRejected(rejection)
                        }
                        Response::Rejected(rejection) => Proposed::Rejected(rejection.to_string()),
                        _ => Proposed::Committed(index),
                    })
                }
                Err(leader) => self.at(leader, self.propose_at(leader, &command)).await,
            }
        };
        let proposed = in_time(LEADER_TIMEOUT, proposal).await;
        count(&proposed, begun);
        proposed
    }

    /// Commits a command that need not be, trying for a moment; whether it was.
    pub(crate) async fn propose_soon(&self, command: &Arc<Command>) -> bool {
        let proposed = async {
            while self.propose(command).await.is_err() {
                tokio::time::sleep(BATCH_RETRY).await;
            }
        };
        tokio::time::timeout(LEADER_TIMEOUT, proposed).await.is_ok()
    }

    /// Commits a command though this node may know no leader, or a former one: asks the members one after the other, and
    /// whom they name. For a node that comes back under another address, which the leader cannot reach.
    pub(crate) async fn propose_anywhere(&self, command: &Arc<Command>) -> Result<Proposed, LeaderError> {
        let mut outcome = self.propose(command).await;
        let command = self.written(command);
        let me = self.consensus.seat().node;
        for node in self.routes.nodes().iter().filter(|node| node.id != me) {
            let mut at = Some(node.id);
            while let (Err(LeaderError::NotLeader(_) | LeaderError::Unknown(_)), Some(asked)) =
                (&outcome, at.take())
            {
                outcome = in_time(LEADER_TIMEOUT, self.propose_at(asked, &command)).await;
                at = match &outcome {
                    Err(LeaderError::NotLeader(other)) => {
                        other.filter(|other| *other != asked && *other != me)
                    }
                    _ => None,
                };
            }
        }
        outcome
    }

    /// Makes a change of the membership, wherever the leader is; waits out a change of leader.
    pub(crate) async fn change_membership(
        &self,
        change: &MembershipChange,
    ) -> Result<MembershipChanged, MembershipError> {
        let changing = async {
            loop {
                match self.try_change(change).await {
                    Err(OperatorError::Leader(LeaderError::NotLeader(_))) => {
                        tokio::time::sleep(TRY_AGAIN).await
                    }
                    Err(OperatorError::Leader(error)) => {
                        return Err(MembershipError::Unknown(error.to_string()));
                    }
                    Err(OperatorError::Refused(error)) => return Err(error),
                    Ok(changed) => return Ok(changed),
                }
            }
        };
        let changed = tokio::time::timeout(MEMBERSHIP_TIMEOUT, changing).await;
        changed.unwrap_or_else(|_| {
            Err(match self.consensus.leader() {
                Some(_) => MembershipError::Unknown("it takes too long".to_owned()),
                None => MembershipError::NoLeader,
            })
        })
    }

    async fn try_change(&self, change: &MembershipChange) -> Result<MembershipChanged, OperatorError> {
        match self.here()? {
            Ok(()) => self.operator.change(change.clone()).await,
            Err(leader) => {
                let request = self.request(leader, membership_wire::change_to_proto(change));
                let response = self.client(leader)?.change_membership(request).await;
                let response = response.map_err(|status| self.unknown(&status))?;
                membership_wire::changed_from_proto(response.into_inner())
            }
        }
    }

    /// Renews this node's lease; `None`: the leader may not grant one now.
    pub(crate) async fn beat(&self, incarnation: Incarnation) -> Result<Option<Beat>, LeaderError> {
        let node = self.consensus.seat().node;
        let beat = async {
            match self.here()? {
                Ok(()) => Ok(self.keeper.beat(node, incarnation).await),
                Err(leader) => self.at(leader, self.beat_at(leader, node, incarnation)).await,
            }
        };
        // A beat that takes longer is worth less than the next one.
        in_time(LEASE_BEAT, beat).await
    }

    /// The leader's committed index, confirmed by a quorum.
    pub(crate) async fn read_index(&self) -> Result<LogIndex, LeaderError> {
        let read = async {
            match self.here()? {
                Ok(()) => self.consensus.read_index().await,
                Err(leader) => self.at(leader, self.read_index_at(leader)).await,
            }
        };
        in_time(LEADER_TIMEOUT, read).await
    }

    /// Waits for a leader's answer only while it leads: one that vanished does not refuse, it is silent.
    async fn at<T>(
        &self,
        leader: NodeId,
        answer: impl Future<Output = Result<T, LeaderError>>,
    ) -> Result<T, LeaderError> {
        tokio::select! {
            biased;
            answer = answer => answer,
            () = self.consensus.leaves(leader) => Err(LeaderError::NotLeader(None)),
        }
    }

    /// In the form that, as far as this node has applied the log, all members read.
    fn written(&self, command: &Arc<Command>) -> LoggedCommand {
        LoggedCommand::new(Arc::clone(command), self.routes.feature_level())
    }

    /// Whether the leader is here, or who it is.
    fn here(&self) -> Result<Result<(), NodeId>, LeaderError> {
        let leader = self.consensus.leader().ok_or(LeaderError::NotLeader(None))?;
        Ok(if leader == self.consensus.seat().node { Ok(()) } else { Err(leader) })
    }

    async fn propose_at(&self, leader: NodeId, command: &LoggedCommand) -> Result<Proposed, LeaderError> {
        // Peers' messages are bounded as well: what is too large is not even sent.
        entry_size::judge(command)?;
        let request = peer::ProposeRequest { command: None, encoded: command.bytes().clone() };
        let response = self
            .client(leader)?
            .propose(self.request(leader, request))
            .await
            .map_err(|status| self.unknown(&status))?;
        match response.into_inner().result {
            Some(propose_response::Result::Index(index)) => Ok(Proposed::Committed(LogIndex(index))),
            Some(propose_response::Result::Rejected(reason)) => Ok(Proposed::Rejected(reason)),
            Some(propose_response::Result::LeaderId(other)) => Err(not_leader(other)),
            Some(propose_response::Result::TooLarge(large)) => Err(TooLarge {
                bytes: usize::try_from(large.bytes).unwrap_or(usize::MAX),
                limit: usize::try_from(large.limit).unwrap_or(usize::MAX),
            }
            .into()),
            Some(propose_response::Result::RecordRefused(refusal)) => {
                let rejection = record_refusal::from_proto(&refusal);
                Ok(rejection
                    .map_or_else(|| Proposed::Rejected(UNKNOWN_REFUSAL.to_owned()), Proposed::RecordRejected))
            }
            None => Err(LeaderError::Unknown("an empty answer".to_owned())),
        }
    }

    async fn beat_at(
        &self,
        leader: NodeId,
        node: NodeId,
        incarnation: Incarnation,
    ) -> Result<Option<Beat>, LeaderError> {
        let request = peer::BeatRequest { node_id: node.0, incarnation: incarnation.0 };
        let response = self
            .client(leader)?
            .beat(self.request(leader, request))
            .await
            .map_err(|status| self.unknown(&status))?;
        Ok(match response.into_inner().result {
            Some(beat_response::Result::Granted(ttl)) => ttl.try_into().ok().map(Beat::Granted),
            Some(beat_response::Result::Lapsed(_)) => Some(Beat::Lapsed),
            Some(beat_response::Result::LeaderId(other)) if other != leader.0 => {
                return Err(not_leader(other));
            }
            Some(beat_response::Result::LeaderId(_)) | None => None,
        })
    }

    async fn read_index_at(&self, leader: NodeId) -> Result<LogIndex, LeaderError> {
        let request = self.request(leader, peer::ReadIndexRequest {});
        let response =
            self.client(leader)?.read_index(request).await.map_err(|status| self.unknown(&status))?;
        match response.into_inner().result {
            Some(read_index_response::Result::Index(index)) => Ok(LogIndex(index)),
            Some(read_index_response::Result::LeaderId(other)) => Err(not_leader(other)),
            None => Err(LeaderError::Unknown("an empty answer".to_owned())),
        }
    }

    /// Compares this node's disk with what a peer knows.
    pub(super) async fn compare_at(
        &self,
        peer: NodeId,
        address: &str,
        claim: peer::CompareRequest,
    ) -> Result<compare_response::Result, LeaderError> {
        let mut client = self.client_at(peer, address)?;
        let response =
            client.compare(self.request(peer, claim)).await.map_err(|status| self.unknown(&status))?;
        response.into_inner().result.ok_or_else(|| LeaderError::Unknown("an empty answer".to_owned()))
    }

    /// Where a node is reached, as the registry has it, or where it was when it joined.
    pub(super) fn address_of(&self, node: NodeId) -> Option<String> {
        let known = self.routes.node(node).map(|node| node.addresses.peer.clone());
        let registered =
            known.filter(|address| !address.is_empty()).or_else(|| self.consensus.address_of(node))?;
        Some(self.channels.latest(node, registered))
    }

    fn client(&self, leader: NodeId) -> Result<MembershipServiceClient<Line>, LeaderError> {
        let address = self.address_of(leader).ok_or(LeaderError::NotLeader(None))?;
        self.client_at(leader, &address)
    }

    fn client_at(&self, node: NodeId, address: &str) -> Result<MembershipServiceClient<Line>, LeaderError> {
        let channel = self.channels.get(node, address, Purpose::Leader);
        let channel = channel.map_err(|error| LeaderError::Unknown(error.to_string()))?;
        Ok(MembershipServiceClient::new(channel).max_encoding_message_size(PEER_MESSAGE_BYTES))
    }

    fn unknown(&self, status: &Status) -> LeaderError {
        self.expulsion.look_at(status);
        LeaderError::Unknown(status.message().to_owned())
    }

    fn request<T>(&self, leader: NodeId, message: T) -> Request<T> {
        let mut request = Request::new(message);
        self.consensus.seat().sign(leader, request.metadata_mut());
        request
    }
}

fn count(proposed: &Result<Proposed, LeaderError>, begun: Instant) {
    let failed = |reason| metrics::counter!(RAFT_PROPOSALS_FAILED, "reason" => reason).increment(1);
    match proposed {
        Ok(Proposed::Committed(_)) => metrics::histogram!(RAFT_PROPOSAL_SECONDS).record(begun.elapsed()),
        Ok(Proposed::Rejected(_) | Proposed::RecordRejected(_)) => failed(REFUSED),
        Err(_) => failed(NOT_COMMITTED),
    }
}

async fn in_time<T>(
    patience: Duration,
    call: impl Future<Output = Result<T, LeaderError>>,
) -> Result<T, LeaderError> {
    let late = || LeaderError::Unknown("no answer in time".to_owned());
    tokio::time::timeout(patience, call).await.unwrap_or_else(|_| Err(late()))
}

fn not_leader(leader: u64) -> LeaderError {
    LeaderError::NotLeader((leader != 0).then_some(NodeId(leader)))
}
