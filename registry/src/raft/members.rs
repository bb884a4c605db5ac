//! What a leader knows of its members, how it changes them, and how it hands leadership over.

use std::{collections::BTreeSet, time::Duration};

use openraft::{ChangeMembers, Instant};

use super::{
    consensus::{Consensus, LeaderError},
    type_config::Member,
};
use crate::{
    limits::{RAFT_ELECTION_MAX, REACHABLE_WITHIN},
    model::{
        command::LogFloor,
        ids::{LogIndex, NodeId},
    },
};

impl Consensus {
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
        self.last_heard(node).is_some_and(|at| at.elapsed() < REACHABLE_WITHIN) || node == self.seat().node
    }

    /// Whether a node has answered something that this leader sent since then; itself always.
    pub(super) fn heard_since(&self, node: NodeId, since: tokio::time::Instant) -> bool {
        self.last_heard(node).is_some_and(|at| at >= since) || node == self.seat().node
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
        let others = metrics.replication.as_ref()?.iter().filter(|(id, _)| {
            voters.contains(id) && **id != self.seat().node.0 && self.reaches(NodeId(**id))
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
                if leader.is_some_and(|leader| leader != self.seat().node) {
                    return leader;
                }
                metrics.changed().await.ok()?;
            }
        };
        tokio::time::timeout(patience, handed).await.ok().flatten()
    }

    /// Hands leadership to another voter, if this node leads and there is one that it reaches.
    pub(crate) async fn hand_over(&self) {
        if self.leader() != Some(self.seat().node) {
            return;
        }
        if let Some(successor) = self.successor() {
            let leader = self.hand_over_to(successor, RAFT_ELECTION_MAX).await;
            tracing::info!(to = %successor, leader = ?leader, "handed leadership over");
        }
    }
}
