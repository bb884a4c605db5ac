//! Changes of the membership that operators ask for, and when they are refused. Pure; the leader judges and acts.

use std::collections::BTreeSet;

use thiserror::Error;

use super::promotion::Learner;
use crate::model::ids::{LogIndex, NodeId};

/// A change of the membership; nodes by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MembershipChange {
    /// Removes the node for good.
    Remove(String),
    /// Lets the learner vote.
    Promote(String),
    /// Takes the node's vote; it stays a learner until an operator promotes it.
    Demote(String),
    /// Hands leadership to this voter; `None`: to the one that is caught up best.
    TransferLeadership(Option<String>),
}

/// A change that was made, now or before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MembershipChanged {
    /// The node that changed; after a transfer the new leader.
    pub node: NodeId,
    /// The log index as of which it holds.
    pub index: LogIndex,
    /// The term.
    pub term: u64,
    /// After a transfer, the former leader.
    pub former_leader: Option<NodeId>,
}

/// Why a change of the membership was not made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MembershipError {
    /// The leader refused it; nothing is half done.
    #[error("{message}")]
    Refused {
        /// Why, for programs.
        refusal: Refusal,
        /// Why, for people.
        message: String,
    },
    /// No leader was there to ask; nothing was done.
    #[error("no leader can change the membership")]
    NoLeader,
    /// It may have been done, wholly or in part; asking again completes it.
    #[error("the outcome is not known, ask again: {0}")]
    Unknown(String),
}

/// Why the leader refuses a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No node has the name.
    UnknownNode,
    /// It is the last voter.
    LastVoter,
    /// The voters that would be left and are reachable are no quorum.
    QuorumAtRisk,
    /// Another change runs.
    ChangeInProgress,
    /// There are as many voters as wanted.
    VotersComplete,
    /// The learner lags behind.
    NotCaughtUp,
    /// The node does not vote.
    NotAVoter,
    /// The leader does not hear from the node.
    NotReachable,
    /// No other voter can lead.
    NoOtherVoter,
}

impl Refusal {
    /// The refusal in words.
    pub fn because(self, message: impl Into<String>) -> MembershipError {
        MembershipError::Refused { refusal: self, message: message.into() }
    }
}

/// The voters, as the leader sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Voters {
    /// Their ids.
    pub all: BTreeSet<NodeId>,
    /// Those that the leader heard from just now; itself among them.
    pub reachable: BTreeSet<NodeId>,
}

impl Voters {
    /// Whether the cluster could go on without this voter's vote.
    ///
    /// Taking the vote of a node that is down never makes it worse: the quorum only shrinks. So there is nothing to force.
    ///
    /// # Errors
    /// [`Refusal::LastVoter`], [`Refusal::QuorumAtRisk`].
    pub fn check_loss_of(&self, node: NodeId, name: &str) -> Result<(), MembershipError> {
        let left = self.all.len().saturating_sub(1);
        if left == 0 {
            return Err(Refusal::LastVoter.because(format!(
                "{name} is the last voter: without it nothing can be changed any more; add another node first"
            )));
        }
        let (reachable, quorum) = (self.reachable.iter().filter(|id| **id != node).count(), left / 2 + 1);
        if reachable < quorum {
            return Err(Refusal::QuorumAtRisk.because(format!(
                "without {name} there are {left} voters, of which the leader reaches {reachable}; {quorum} are needed: \
                 bring the others back, or remove one that is down"
            )));
        }
        Ok(())
    }
}

/// Whether a learner may vote now.
///
/// # Errors
/// [`Refusal::VotersComplete`], [`Refusal::NotReachable`], [`Refusal::NotCaughtUp`].
pub fn check_promotion(
    name: &str,
    learner: &Learner,
    reachable: bool,
    voters: usize,
    wanted: usize,
    last_log: u64,
) -> Result<(), MembershipError> {
    if voters >= wanted {
        return Err(Refusal::VotersComplete.because(format!(
            "there are {voters} voters, as many as the setting `voters` wants: demote or remove one first"
        )));
    }
    if !reachable {
        return Err(Refusal::NotReachable.because(format!("the leader does not hear from {name}")));
    }
    if !learner.caught_up(last_log) {
        let at = learner.matched.unwrap_or(0);
        return Err(Refusal::NotCaughtUp.because(format!(
            "{name} is known to hold the log up to {at} of {last_log}: wait until it has caught up"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(all: &[u64], reachable: &[u64]) -> Voters {
        let ids = |ids: &[u64]| ids.iter().copied().map(NodeId).collect();
        Voters { all: ids(all), reachable: ids(reachable) }
    }

    fn refusal(result: Result<(), MembershipError>) -> Option<Refusal> {
        match result {
            Err(MembershipError::Refused { refusal, .. }) => Some(refusal),
            _ => None,
        }
    }

    #[test]
    fn the_last_voter_stays() {
        let checked = voters(&[1], &[1]).check_loss_of(NodeId(1), "n1");
        assert_eq!(refusal(checked), Some(Refusal::LastVoter));
    }

    #[test]
    fn a_voter_that_the_quorum_needs_stays() {
        for (all, reachable, lost, at_risk) in [
            (&[1, 2, 3][..], &[1, 2, 3][..], 2, false),
            (&[1, 2, 3], &[1, 2], 2, true),
            (&[1, 2], &[1, 2], 2, false),
            (&[1, 2, 3, 4, 5], &[1, 2, 3, 4], 4, false),
            (&[1, 2, 3, 4, 5], &[1, 2, 3], 3, true),
        ] {
            let checked = voters(all, reachable).check_loss_of(NodeId(lost), "it");
            assert_eq!(refusal(checked).is_some(), at_risk, "{lost} of {all:?}, {reachable:?} reachable");
        }
    }

    #[test]
    fn while_there_is_a_quorum_a_voter_that_is_down_can_always_go() {
        for count in 2..=9_u64 {
            let all: Vec<u64> = (1..=count).collect();
            for up in count / 2 + 1..count {
                let up: Vec<u64> = (1..=up).collect();
                assert_eq!(voters(&all, &up).check_loss_of(NodeId(count), "it"), Ok(()), "{up:?} of {count}");
            }
        }
    }

    #[test]
    fn a_learner_is_promoted_only_into_a_free_place_when_it_is_there_and_caught_up() {
        let learner = |matched| Learner { id: NodeId(4), matched, eligible: true };
        let check = |matched, reachable, voters| {
            refusal(check_promotion("n4", &learner(matched), reachable, voters, 3, 1_000))
        };
        assert_eq!(check(Some(1_000), true, 2), None);
        assert_eq!(check(Some(1_000), true, 3), Some(Refusal::VotersComplete));
        assert_eq!(check(Some(1_000), false, 2), Some(Refusal::NotReachable));
        assert_eq!(check(Some(1), true, 2), Some(Refusal::NotCaughtUp));
        assert_eq!(check(None, true, 2), Some(Refusal::NotCaughtUp));
    }
}
