//! This node's Raft, as the rest of the registry uses it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use openraft::{
    Config, Instant, Raft, ReadPolicy, SnapshotPolicy,
    errors::{ClientWriteError, ForwardReason, InitializeError, LinearizableReadError, RaftError},
};

use super::{
    entry_size::{self, TooLarge},
    identity::Seat,
    logged_command::LoggedCommand,
    network::NetworkFactory,
    state_machine::StateMachine,
    type_config::{Member, TypeConfig},
};
use crate::{
    limits::{
        LEADER_READY_EVERY, RAFT_ELECTION_MAX, RAFT_ELECTION_MIN, RAFT_HEARTBEAT, RAFT_STOP_TIMEOUT,
        SNAPSHOT_DEADLINE,
    },
    membership::level,
    model::{
        command::{Command, NodeDown},
        feature_level::FeatureLevel,
        ids::{LogIndex, NodeId},
        response::Response,
    },
    routes::Routes,
};

/// What openraft tells about itself.
pub(crate) type Metrics = openraft::RaftMetrics<TypeConfig>;

/// Why this node could not do what only a leader can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LeaderError {
    /// Another node leads, if any is known to.
    #[error("this node does not lead")]
    NotLeader(Option<NodeId>),
    /// It fits into no log entry, and was not proposed.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// Not every member is known to read it, and it was not written: it is proposed again in an older form, or once the level rises.
    #[error("the command is written for feature level {command}, the cluster is at {cluster}")]
    AboveLevel {
        /// What it needs.
        command: FeatureLevel,
        /// What there is.
        cluster: FeatureLevel,
    },
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
    routes: Routes,
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
        let (seat, routes) = (network.seat, network.routes.clone());
        let config = config().map_err(|error| LeaderError::Stopped(error.to_string()))?;
        let raft = Raft::new(seat.node.0, Arc::new(config), network, log, machine)
            .await
            .map_err(|fatal| LeaderError::Stopped(fatal.to_string()))?;
        Ok(Self { raft, seat, routes })
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
        // An only voter acknowledges to itself; openraft then keeps no time of it.
        let alone = metrics.membership_config.voter_ids().eq([self.seat.node.0]);
        metrics.current_leader == Some(self.seat.node.0)
            && (alone || metrics.last_quorum_acked.is_some_and(|acked| acked.elapsed() < RAFT_ELECTION_MIN))
    }

    /// The term in which this node may grant leases: it leads with a quorum, and has applied an entry of its own term, so
    /// that no end of a node that an earlier leader wrote is still to come.
    pub(crate) fn granting_term(&self) -> Option<u64> {
        let metrics = self.metrics();
        let term = metrics.current_term;
        let caught_up = metrics.last_applied.is_some_and(|applied| applied.leader_id.term == term);
        (caught_up && self.leads_with_quorum()).then_some(term)
    }

    /// Founds the cluster with these voters, all at once. A second time does nothing.
    pub(super) async fn initialize(&self, members: BTreeMap<u64, Member>) -> Result<(), LeaderError> {
        members.values().try_for_each(|member| entry_size::judge_member(member, &Default::default()))?;
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
    ///
    /// A leader takes nothing until its first quorum ack, nor after a quorum was silent for a while: it refuses before
    /// anything is written, and is asked again, for at most an election time-out.
    pub(crate) async fn write(
        &self,
        command: impl Into<LoggedCommand>,
    ) -> Result<(LogIndex, Response), LeaderError> {
        let command = command.into();
        entry_size::judge(&command)?;
        self.judge_level(&command)?;
        let command = self.with_floor(command);
        let patience = tokio::time::Instant::now() + RAFT_ELECTION_MAX;
        loop {
            let error = match self.raft.client_write(command.clone()).await {
                Ok(written) => return Ok((LogIndex(written.log_id.index), written.data)),
                Err(error) => error,
            };
            if !is_lease_expired(&error) || tokio::time::Instant::now() >= patience {
                return Err(self.write_error(error));
            }
            tokio::time::sleep(LEADER_READY_EVERY).await;
        }
    }

    /// Refuses what not every member can read. The level may be raised to what all members can take part in, and no further.
    pub(super) fn judge_level(&self, command: &LoggedCommand) -> Result<(), LeaderError> {
        let cluster = match command.command() {
            Command::RaiseLevel(_) => level::common(&self.routes.nodes()),
            _ => self.routes.feature_level(),
        };
        let command = command.level();
        if command > cluster { Err(LeaderError::AboveLevel { command, cluster }) } else { Ok(()) }
    }

    /// Notes, with the end of a node's life, what its disk must hold: only the leader knows.
    fn with_floor(&self, command: LoggedCommand) -> LoggedCommand {
        match command.command() {
            Command::NodeDown(down) if down.floor.is_none() => {
                let down = NodeDown { floor: self.floor_of(down.node), ..down.clone() };
                Command::NodeDown(down).into()
            }
            _ => command,
        }
    }

    pub(super) fn write_error(
        &self,
        error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>,
    ) -> LeaderError {
        match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
                // A leader without a quorum's ack names nobody: it still is the one to ask.
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

    /// Whether the membership has room for a newcomer.
    pub(super) fn judge_newcomer(&self, member: &Member) -> Result<(), TooLarge> {
        entry_size::judge_member(member, self.metrics().membership_config.membership())
    }

    /// Adds a learner; it catches up on its own. A second time does nothing.
    pub(super) async fn add_learner(&self, node: NodeId, member: Member) -> Result<(), LeaderError> {
        if self.metrics().membership_config.nodes().any(|(id, known)| *id == node.0 && *known == member) {
            return Ok(());
        }
        self.judge_newcomer(&member)?;
        match self.raft.add_learner(node.0, member, false).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.write_error(error)),
        }
    }

    /// Resolves when this node knows that `leader` leads no more.
    pub(crate) async fn leaves(&self, leader: NodeId) {
        use openraft::async_runtime::watch::WatchReceiver;
        let mut told = self.raft.server_metrics();
        loop {
            let leads = told.borrow_watched().current_leader.map(NodeId) == Some(leader);
            if !leads || told.changed().await.is_err() {
                return;
            }
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

    /// Stops Raft; a storage that hangs does not hold it up for long.
    pub(crate) async fn stop(&self) {
        match tokio::time::timeout(RAFT_STOP_TIMEOUT, self.raft.shutdown()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "consensus did not stop cleanly"),
            Err(_) => tracing::warn!("consensus did not stop in time"),
        }
    }
}

fn is_lease_expired(error: &RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> bool {
    matches!(
        error,
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward))
            if forward.reason == ForwardReason::LeaseExpired
    )
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
        // A leader sends entries before its own disk has them. Killed then and restored in the same term, it would write
        // other entries under the log ids that its followers hold already.
        enable_leader_restore: Some(false),
        install_snapshot_timeout: millis(SNAPSHOT_DEADLINE),
        max_payload_entries: 1_024,
        // When to build a snapshot, and what to give up of the log, the compactor decides.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        ..Config::default()
    }
    .validate()
}
