//! Carries out changes of the membership at the leader, one at a time: Raft's members first, then the registry's record.
//!
//! A change of the voters takes two entries, and a removal is complete when the registry has it as well. What a leader leaves
//! half done the next one finishes (see `chores`).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use openraft::ChangeMembers;
use tokio::{sync::Semaphore, time::Instant};

use super::{
    consensus::{Consensus, LeaderError},
    type_config::{Member, Membership},
};
use crate::{
    clock::{Moment, unix_now},
    limits::{HAND_OVER_TIMEOUT, REACHABLE_WITHIN},
    membership::{
        change::{MembershipChange, MembershipChanged, MembershipError, Refusal, Voters, check_promotion},
        promotion::{Learner, Promotions},
        reaping::Reaping,
    },
    model::{
        command::{Command, RemoveNode, SetSuffrage, Suffrage},
        ids::{LogIndex, NodeId},
    },
    routes::{Routes, view::NodeView},
};

/// How often the leader looks whether the voters have answered.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

type Changes = ChangeMembers<u64, Member>;

/// Why the leader did not make a change.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OperatorError {
    /// It does not lead, or could not commit.
    #[error(transparent)]
    Leader(#[from] LeaderError),
    /// It refuses.
    #[error(transparent)]
    Refused(#[from] MembershipError),
}

/// Changes the membership, if this node leads: cheap, cloneable.
#[derive(Clone)]
pub(super) struct Operator {
    consensus: Consensus,
    routes: Routes,
    /// How many voters there shall be.
    wanted: usize,
    one_at_a_time: Arc<Semaphore>,
}

/// The membership as the leader sees it.
struct View {
    voters: Voters,
    learners: Vec<Learner>,
    last_log: u64,
    term: u64,
}

impl Operator {
    pub(super) fn new(consensus: Consensus, routes: Routes, wanted: usize) -> Self {
        Self { consensus, routes, wanted, one_at_a_time: Arc::new(Semaphore::new(1)) }
    }

    /// Makes a change, or says why not. Made before, it changes nothing; only a node that is gone is unknown then.
    ///
    /// # Cancel safety
    /// Dropped, it goes on: a change of the voters takes two entries, and must not stop between them.
    pub(super) async fn change(&self, change: MembershipChange) -> Result<MembershipChanged, OperatorError> {
        let operator = self.clone();
        let made = tokio::spawn(async move { operator.make(&change).await });
        made.await.unwrap_or_else(|error| Err(LeaderError::Unknown(error.to_string()).into()))
    }

    async fn make(&self, change: &MembershipChange) -> Result<MembershipChanged, OperatorError> {
        let Ok(_turn) = self.one_at_a_time.try_acquire() else {
            return Err(in_progress().into());
        };
        let asked = Instant::now();
        self.hear_from_voters(asked).await;
        let view = self.view(asked)?;
        match change {
            MembershipChange::Remove(name) => self.remove(&*self.named(name)?, &view).await,
            MembershipChange::Promote(name) => self.promote(&*self.named(name)?, &view).await,
            MembershipChange::Demote(name) => self.demote(&*self.named(name)?, &view).await,
            MembershipChange::TransferLeadership(to) => self.transfer(to.as_deref(), &view).await,
        }
    }

    /// Promotes a learner if a voter is missing and one was fit for long enough; run by the leader, again and again.
    pub(super) async fn promote_next(
        &self,
        promotions: &mut Promotions,
    ) -> Result<Option<NodeId>, OperatorError> {
        let Ok(_turn) = self.one_at_a_time.try_acquire() else {
            return Ok(None);
        };
        let Ok(view) = self.view(recently()) else {
            promotions.clear();
            return Ok(None);
        };
        let voters = view.voters.all.len();
        let next = promotions.next(Moment::now(), voters, self.wanted, &view.learners, view.last_log);
        if let Some(node) = next {
            self.consensus
                .change_members(ChangeMembers::AddVoterIds(BTreeSet::from([node.0])), false)
                .await?;
        }
        Ok(next)
    }

    /// Removes a learner that was down for as long as `ttl`; run by the leader, again and again. One whose vote an operator took
    /// is the operator's to remove.
    pub(super) async fn reap_next(
        &self,
        reaping: &mut Reaping,
        ttl: Duration,
    ) -> Result<Option<NodeId>, OperatorError> {
        let members = self.consensus.metrics();
        let learners = members.membership_config.membership().learner_ids().map(NodeId);
        let is_down = |node: &Arc<NodeView>| {
            !node.up && node.incarnation.0 != 0 && node.suffrage == Suffrage::Automatic
        };
        let down: Vec<Arc<NodeView>> =
            learners.filter_map(|id| self.routes.node(id)).filter(is_down).collect();
        let ids: Vec<NodeId> = down.iter().map(|node| node.id).collect();
        let gone = reaping.next(Moment::now(), &ids, ttl);
        if let Some(node) = down.iter().find(|node| Some(node.id) == gone) {
            self.change(MembershipChange::Remove(node.name.to_string())).await?;
        }
        Ok(gone)
    }

    /// Ends what a former leader began: a change of the voters that has both sets in force, and a removal of which the
    /// registry does not know yet.
    pub(super) async fn finish(&self) -> Result<(), OperatorError> {
        let Ok(_turn) = self.one_at_a_time.try_acquire() else {
            return Ok(());
        };
        if self.consensus.is_between_voters() {
            tracing::warn!("finishing a change of the voters that was begun");
            // Whom it was to remove stays as a learner: whether it was to go for good, only the operator knows.
            self.consensus.change_members(ChangeMembers::AddVoterIds(BTreeSet::new()), true).await?;
        }
        self.view(recently())?;
        let members: BTreeSet<u64> = self.consensus.committed_members();
        // A newcomer is registered before it is a member, but comes up only after.
        let begun = |node: &&Arc<NodeView>| node.incarnation.0 != 0 && !members.contains(&node.id.0);
        for node in self.routes.nodes().iter().filter(begun) {
            tracing::warn!(node = %node.id, name = %node.name, "finishing a removal that was begun");
            self.consensus.write(Command::RemoveNode(RemoveNode { node: node.id, at: unix_now() })).await?;
        }
        Ok(())
    }

    async fn remove(&self, node: &NodeView, view: &View) -> Result<MembershipChanged, OperatorError> {
        if view.voters.all.contains(&node.id) {
            self.let_go(node, view).await?;
            self.consensus
                .change_members(ChangeMembers::RemoveVoters(BTreeSet::from([node.id.0])), false)
                .await?;
        } else if view.learners.iter().any(|learner| learner.id == node.id) {
            self.consensus
                .change_members(ChangeMembers::RemoveNodes(BTreeSet::from([node.id.0])), false)
                .await?;
        }
        let command = Command::RemoveNode(RemoveNode { node: node.id, at: unix_now() });
        let (index, _) = self.consensus.write(command).await?;
        tracing::info!(node = %node.id, name = %node.name, "removed from the cluster");
        Ok(changed(node.id, index, view))
    }

    async fn promote(&self, node: &NodeView, view: &View) -> Result<MembershipChanged, OperatorError> {
        if view.voters.all.contains(&node.id) {
            let index = self.set_suffrage(node, Suffrage::Automatic).await?;
            return Ok(changed(node.id, index, view));
        }
        let unseen = Learner { id: node.id, matched: None, eligible: false };
        let learner = view.learners.iter().find(|learner| learner.id == node.id).unwrap_or(&unseen);
        let reachable = self.consensus.reaches(node.id);
        let voters = view.voters.all.len();
        check_promotion(&node.name, learner, reachable, voters, self.wanted, view.last_log)?;
        self.set_suffrage(node, Suffrage::Automatic).await?;
        let change: Changes = ChangeMembers::AddVoterIds(BTreeSet::from([node.id.0]));
        let index = self.consensus.change_members(change, true).await?;
        tracing::info!(node = %node.id, name = %node.name, "promoted to voter by an operator");
        Ok(changed(node.id, index, view))
    }

    async fn demote(&self, node: &NodeView, view: &View) -> Result<MembershipChanged, OperatorError> {
        let votes = view.voters.all.contains(&node.id);
        if votes {
            self.let_go(node, view).await?;
        }
        let mut index = self.set_suffrage(node, Suffrage::Withheld).await?;
        if votes {
            let change: Changes = ChangeMembers::RemoveVoters(BTreeSet::from([node.id.0]));
            index = self.consensus.change_members(change, true).await?;
            tracing::info!(node = %node.id, name = %node.name, "demoted to learner by an operator");
        }
        Ok(changed(node.id, index, view))
    }

    /// Checks that a voter can go. If it is this leader, it hands over first, and its successor has to be asked.
    async fn let_go(&self, node: &NodeView, view: &View) -> Result<(), OperatorError> {
        view.voters.check_loss_of(node.id, &node.name)?;
        if node.id != self.consensus.seat().node {
            return Ok(());
        }
        let successor = self.consensus.successor().ok_or_else(no_other_voter)?;
        let leader = self.consensus.hand_over_to(successor, HAND_OVER_TIMEOUT).await;
        Err(LeaderError::NotLeader(leader.or(Some(successor))).into())
    }

    async fn transfer(&self, to: Option<&str>, view: &View) -> Result<MembershipChanged, OperatorError> {
        let me = self.consensus.seat().node;
        let target = match to {
            None => self.consensus.successor().ok_or_else(no_other_voter)?,
            Some(name) => {
                let node = self.named(name)?;
                if !view.voters.all.contains(&node.id) {
                    return Err(Refusal::NotAVoter
                        .because(format!("{name} does not vote, so it cannot lead"))
                        .into());
                }
                if !view.voters.reachable.contains(&node.id) {
                    return Err(Refusal::NotReachable
                        .because(format!("the leader does not hear from {name}"))
                        .into());
                }
                node.id
            }
        };
        if target != me {
            let leader = self.consensus.hand_over_to(target, HAND_OVER_TIMEOUT).await;
            if leader != Some(target) {
                let went = leader
                    .map_or_else(|| "nobody leads yet".to_owned(), |leader| format!("node {leader} leads"));
                return Err(MembershipError::Unknown(format!(
                    "the hand-over to node {target} did not succeed, {went}"
                ))
                .into());
            }
        }
        let metrics = self.consensus.metrics();
        let index = self.routes.applied_index();
        Ok(MembershipChanged { node: target, index, term: metrics.current_term, former_leader: Some(me) })
    }

    async fn set_suffrage(&self, node: &NodeView, suffrage: Suffrage) -> Result<LogIndex, OperatorError> {
        if node.suffrage == suffrage {
            return Ok(self.routes.applied_index());
        }
        let command = Command::SetSuffrage(SetSuffrage { node: node.id, suffrage });
        Ok(self.consensus.write(command).await?.0)
    }

    fn named(&self, name: &str) -> Result<Arc<NodeView>, MembershipError> {
        let node = self.routes.node_by_name(name);
        node.ok_or_else(|| Refusal::UnknownNode.because(format!("no node of the cluster is named {name}")))
    }

    /// Waits until every voter has answered the leader since the operator asked, or has had the time to: a node that was
    /// lost a moment ago must not be counted on, or a change could begin that cannot be committed.
    async fn hear_from_voters(&self, asked: Instant) {
        let heard = async {
            let voters: Vec<u64> = self.consensus.metrics().membership_config.voter_ids().collect();
            while !voters.iter().all(|id| self.consensus.heard_since(NodeId(*id), asked)) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let _ = tokio::time::timeout(REACHABLE_WITHIN, heard).await;
    }

    /// The membership, if this node leads and no change is under way; a voter is reachable that was heard since then.
    fn view(&self, since: Instant) -> Result<View, OperatorError> {
        let metrics = self.consensus.metrics();
        let Some(replication) = metrics.replication.as_ref().filter(|_| self.consensus.leads_with_quorum())
        else {
            let leader = self.consensus.leader().filter(|leader| *leader != self.consensus.seat().node);
            return Err(LeaderError::NotLeader(leader).into());
        };
        let membership: &Membership = metrics.membership_config.membership();
        let committed = metrics.committed_membership_config.log_id() == metrics.membership_config.log_id();
        if membership.get_joint_config().len() != 1 || !committed {
            return Err(in_progress().into());
        }
        let all: BTreeSet<NodeId> = membership.voter_ids().map(NodeId).collect();
        let reachable = all.iter().copied().filter(|id| self.consensus.heard_since(*id, since)).collect();
        let learner = |id| Learner {
            id: NodeId(id),
            matched: replication.get(&id).and_then(|at| at.as_ref()).map(|log_id| log_id.index),
            eligible: self.consensus.reaches(NodeId(id)) && self.may_vote(NodeId(id)),
        };
        Ok(View {
            voters: Voters { all, reachable },
            learners: membership.learner_ids().map(learner).collect(),
            last_log: metrics.last_log_index.unwrap_or(0),
            term: metrics.current_term,
        })
    }

    fn may_vote(&self, node: NodeId) -> bool {
        self.routes
            .node(node)
            .is_some_and(|node| node.up && !node.draining && node.suffrage == Suffrage::Automatic)
    }
}

/// The earliest time of an answer that still shows that a node is there.
fn recently() -> Instant {
    let now = Instant::now();
    now.checked_sub(REACHABLE_WITHIN).unwrap_or(now)
}

fn changed(node: NodeId, index: LogIndex, view: &View) -> MembershipChanged {
    MembershipChanged { node, index, term: view.term, former_leader: None }
}

fn in_progress() -> MembershipError {
    Refusal::ChangeInProgress
        .because("another change of the membership is under way: ask again when it is done")
}

fn no_other_voter() -> MembershipError {
    Refusal::NoOtherVoter.because("the leader reaches no other voter that could lead")
}
