//! This node's Raft, as the rest of the registry uses it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use openraft::{
    ChangeMembers, Config, Instant, Raft, ReadPolicy, SnapshotPolicy,
    errors::{ClientWriteError, InitializeError, LinearizableReadError, RaftError},
};

use super::{
    identity::Seat,
    network::NetworkFactory,
    state_machine::StateMachine,
    type_config::{Member, TypeConfig},
};
use crate::{
    limits::{
        RAFT_ELECTION_MAX, RAFT_ELECTION_MIN, RAFT_HEARTBEAT, REACHABLE_WITHIN, SNAPSHOT_DEADLINE,
        SNAPSHOT_EVERY_ENTRIES, SNAPSHOT_KEEP_ENTRIES, STOP_HAND_OVER_TIMEOUT,
    },
    model::{
        command::{Command, LogFloor, NodeDown},
        ids::{LogIndex, NodeId},
        response::Response,
    },
};

/// What openraft tells about itself.
pub(crate) type Metrics = openraft::RaftMetrics<TypeConfig>;

/// Why this node could not do what only a leader can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LeaderError {
    /// Another node leads, if any is known to.
    #[error("this node does not lead")]
    NotLeader(Option<NodeId>),
    /// It may have happened, or may still.
    #[error("the outcome is not known: {0}")]
    Unknown(String),
    /// Consensus has stopped for good.
    #[error("consensus has stopped: {0}")]
    Stopped(String),
}

/// What a node finds in its own log and vote, and in the newest membership there.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    pub(super) vote_term: u64,
    pub(super) last_log: LogIndex,
    /// One set of voters, or two while they change.
    pub(super) voters: Vec<BTreeSet<u64>>,
    /// All members, with the addresses that they joined with.
    pub(super) members: Vec<(NodeId, String)>,
}

/// This node's Raft.
#[derive(Clone)]
pub(crate) struct Consensus {
    pub(super) raft: Raft<TypeConfig, StateMachine>,
    seat: Seat,
}

impl Consensus {
    /// Starts Raft on what the folder holds.
    pub(super) async fn start<L>(
        network: NetworkFactory,
        log: L,
        machine: StateMachine,
    ) -> Result<Self, LeaderError>
    where
        L: openraft::storage::RaftLogStorage<TypeConfig>,
    {
        let seat = network.seat;
        let config = config().map_err(|error| LeaderError::Stopped(error.to_string()))?;
        let raft = Raft::new(seat.node.0, Arc::new(config), network, log, machine)
            .await
            .map_err(|fatal| LeaderError::Stopped(fatal.to_string()))?;
        Ok(Self { raft, seat })
    }

    /// This node's place.
    pub(crate) fn seat(&self) -> Seat {
        self.seat
    }

    /// What openraft tells about itself, now.
    pub(crate) fn metrics(&self) -> Metrics {
        use openraft::async_runtime::watch::WatchReceiver;
        self.raft.metrics().borrow_watched().clone()
    }

    /// The leader, as far as this node knows.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.metrics().current_leader.map(NodeId)
    }

    /// Where a member was reached when it joined.
    pub(super) fn address_of(&self, node: NodeId) -> Option<String> {
        let metrics = self.metrics();
        let member = metrics.membership_config.nodes().find(|(id, _)| **id == node.0);
        member.map(|(_, member)| member.peer_addr.clone())
    }

    /// Whether this node leads and heard from a quorum within the shortest election time-out.
    pub(crate) fn leads_with_quorum(&self) -> bool {
        let metrics = self.metrics();
        metrics.current_leader == Some(self.seat.node.0)
            && metrics.last_quorum_acked.is_some_and(|acked| acked.elapsed() < RAFT_ELECTION_MIN)
    }

    /// Founds the cluster with these voters, all at once. A second time does nothing.
    pub(super) async fn initialize(&self, members: BTreeMap<u64, Member>) -> Result<(), LeaderError> {
        match self.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(LeaderError::Stopped(error.to_string())),
        }
    }

    /// Whether this Raft has a log at all.
    pub(super) async fn is_initialized(&self) -> bool {
        self.raft.is_initialized().await.unwrap_or(false)
    }

    /// Commits and applies a command here, if this node leads.
    pub(crate) async fn write(&self, command: Arc<Command>) -> Result<(LogIndex, Response), LeaderError> {
        let command = self.with_floor(command);
        match self.raft.client_write(command).await {
            Ok(written) => Ok((LogIndex(written.log_id.index), written.data)),
            Err(error) => Err(self.write_error(error)),
        }
    }

    /// Notes, with the end of a node's life, what its disk must hold: only the leader knows.
    fn with_floor(&self, command: Arc<Command>) -> Arc<Command> {
        match &*command {
            Command::NodeDown(down) if down.floor.is_none() => {
                let down = NodeDown { floor: self.floor_of(down.node), ..down.clone() };
                Arc::new(Command::NodeDown(down))
            }
            _ => command,
        }
    }

    fn write_error(&self, error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> LeaderError {
        match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
                // A fresh leader refuses until its first quorum ack: it still is the one to ask.
                let leader = forward.leader_id.map(NodeId).or_else(|| self.leader());
                LeaderError::NotLeader(leader)
            }
            RaftError::APIError(other) => LeaderError::Unknown(other.to_string()),
            RaftError::Fatal(fatal) => LeaderError::Stopped(fatal.to_string()),
        }
    }

    /// An index, confirmed by a quorum, at which a read is linearizable.
    pub(crate) async fn read_index(&self) -> Result<LogIndex, LeaderError> {
        match self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => Ok(LogIndex(linearizer.read_log_id().index())),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(LeaderError::NotLeader(forward.leader_id.map(NodeId)))
            }
            Err(RaftError::APIError(error)) => Err(LeaderError::Unknown(error.to_string())),
            Err(RaftError::Fatal(fatal)) => Err(LeaderError::Stopped(fatal.to_string())),
        }
    }

    /// Adds a learner; it catches up on its own. A second time does nothing.
    pub(super) async fn add_learner(&self, node: NodeId, member: Member) -> Result<(), LeaderError> {
        if self.metrics().membership_config.nodes().any(|(id, known)| *id == node.0 && *known == member) {
            return Ok(());
        }
        match self.raft.add_learner(node.0, member, false).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.write_error(error)),
        }
    }

    /// Changes Raft's members; `retain`s a former voter as learner, or not. The index of the change.
    pub(super) async fn change_members(
        &self,
        change: ChangeMembers<u64, Member>,
        retain: bool,
    ) -> Result<LogIndex, LeaderError> {
        match self.raft.change_membership(change, retain).await {
            Ok(written) => Ok(LogIndex(written.log_id.index)),
            Err(error) => Err(self.write_error(error)),
        }
    }

    /// Whether a node belongs to Raft's members and does not vote, in any of their sets.
    pub(super) fn is_learner(&self, node: NodeId) -> bool {
        self.metrics().membership_config.membership().learner_ids().any(|id| id == node.0)
    }

    /// Whether a change of the voters stands half done: both sets are in force, and that is committed.
    pub(super) fn is_between_voters(&self) -> bool {
        let metrics = self.metrics();
        let (effective, committed) = (&metrics.membership_config, &metrics.committed_membership_config);
        effective.membership().get_joint_config().len() > 1 && effective.log_id() == committed.log_id()
    }

    /// The members of the newest membership that is committed.
    pub(super) fn committed_members(&self) -> BTreeSet<u64> {
        self.metrics().committed_membership_config.nodes().map(|(id, _)| *id).collect()
    }

    /// Whether this leader heard from a node just now; from itself always.
    pub(super) fn reaches(&self, node: NodeId) -> bool {
        self.last_heard(node).is_some_and(|at| at.elapsed() < REACHABLE_WITHIN) || node == self.seat.node
    }

    /// Whether a node has answered something that this leader sent since then; itself always.
    pub(super) fn heard_since(&self, node: NodeId, since: tokio::time::Instant) -> bool {
        self.last_heard(node).is_some_and(|at| at >= since) || node == self.seat.node
    }

    fn last_heard(&self, node: NodeId) -> Option<tokio::time::Instant> {
        let heard = self.metrics().heartbeat?;
        tokio::time::Instant::now().checked_sub(heard.get(&node.0)?.as_ref()?.elapsed())
    }

    /// What this leader counts on to be on a node's disk; `None`: it does not lead, or has not heard from it.
    ///
    /// Only committed entries: others may be truncated by right.
    pub(super) fn floor_of(&self, node: NodeId) -> Option<LogFloor> {
        if !self.leads_with_quorum() {
            return None;
        }
        let metrics = self.metrics();
        let matched = metrics.replication.as_ref()?.get(&node.0)?.as_ref()?.index;
        let committed = metrics.cluster_committed.as_ref()?.index;
        Some(LogFloor { term: metrics.current_term, index: LogIndex(matched.min(committed)) })
    }

    /// The other voter that is caught up best, of those that this leader reaches.
    pub(super) fn successor(&self) -> Option<NodeId> {
        let metrics = self.metrics();
        let voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
        let others =
            metrics.replication.as_ref()?.iter().filter(|(id, _)| {
                voters.contains(id) && **id != self.seat.node.0 && self.reaches(NodeId(**id))
            });
        let best = others.max_by_key(|(_, matched)| matched.as_ref().map(|log_id| log_id.index));
        best.map(|(id, _)| NodeId(*id))
    }

    /// Hands leadership to a voter, and waits until another node leads; `None`: none did in time.
    pub(super) async fn hand_over_to(&self, successor: NodeId, patience: Duration) -> Option<NodeId> {
        use openraft::async_runtime::watch::WatchReceiver;
        if let Err(error) = self.raft.trigger().transfer_leader(successor.0).await {
            tracing::debug!(%error, to = %successor, "leadership was not handed over");
            return None;
        }
        let mut metrics = self.raft.metrics();
        let handed = async {
            loop {
                let leader = metrics.borrow_watched().current_leader.map(NodeId);
                if leader.is_some_and(|leader| leader != self.seat.node) {
                    return leader;
                }
                metrics.changed().await.ok()?;
            }
        };
        tokio::time::timeout(patience, handed).await.ok().flatten()
    }

    /// Hands leadership to another voter, if this node leads and there is one that it reaches.
    pub(crate) async fn hand_over(&self) {
        if self.leader() != Some(self.seat.node) {
            return;
        }
        if let Some(successor) = self.successor() {
            let leader = self.hand_over_to(successor, STOP_HAND_OVER_TIMEOUT).await;
            tracing::info!(to = %successor, leader = ?leader, "handed leadership over");
        }
    }

    /// What this node finds in its own log and vote.
    pub(super) async fn disk(&self) -> Result<Disk, LeaderError> {
        let read = self.raft.with_raft_state(|state| Disk {
            vote_term: state.vote_ref().leader_id().term,
            last_log: state.log_ids.last().map_or(LogIndex(0), |log_id| LogIndex(log_id.index)),
            voters: state.membership_state.effective().membership().get_joint_config().clone(),
            members: state
                .membership_state
                .effective()
                .membership()
                .nodes()
                .map(|(id, member)| (NodeId(*id), member.peer_addr.clone()))
                .collect(),
        });
        read.await.map_err(|fatal| LeaderError::Stopped(fatal.to_string()))
    }

    /// Lets this node campaign; it starts without.
    pub(super) fn allow_elections(&self) {
        self.raft.runtime_config().elect(true);
    }

    /// Resolves when Raft has ended, with the reason.
    pub(crate) async fn ended(&self) -> String {
        use openraft::async_runtime::watch::WatchReceiver;
        let mut metrics = self.raft.metrics();
        loop {
            if let Err(fatal) = &metrics.borrow_watched().running_state {
                return fatal.to_string();
            }
            if metrics.changed().await.is_err() {
                return "it is gone".to_owned();
            }
        }
    }

    /// Stops Raft.
    pub(crate) async fn stop(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "consensus did not stop cleanly");
        }
    }
}

fn config() -> Result<Config, openraft::ConfigError> {
    let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Config {
        cluster_name: "rollcall".to_owned(),
        heartbeat_interval: millis(RAFT_HEARTBEAT),
        election_timeout_min: millis(RAFT_ELECTION_MIN),
        election_timeout_max: millis(RAFT_ELECTION_MAX),
        enable_pre_vote: Some(true),
        // A node campaigns, or leads again, only once its peers have found its disk sound.
        enable_elect: false,
        enable_leader_restore: Some(false),
        install_snapshot_timeout: millis(SNAPSHOT_DEADLINE),
        max_payload_entries: 1_024,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_EVERY_ENTRIES),
        max_in_snapshot_log_to_keep: SNAPSHOT_KEEP_ENTRIES,
        replication_lag_threshold: SNAPSHOT_EVERY_ENTRIES + SNAPSHOT_KEEP_ENTRIES,
        purge_batch_size: 1_024,
        ..Config::default()
    }
    .validate()
}
