//! Which learner becomes a voter next. Pure; run by the leader, one change at a time.

use std::collections::BTreeMap;

use crate::{
    clock::Moment,
    limits::{PROMOTE_LAG_ENTRIES, PROMOTE_STABLE},
    model::ids::NodeId,
};

/// A learner as the leader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learner {
    /// Its id.
    pub id: NodeId,
    /// The last log index it is known to hold.
    pub matched: Option<u64>,
    /// Whether it may be promoted at all: it is up, answers the leader, and no operator took its vote.
    pub eligible: bool,
}

impl Learner {
    /// Whether it holds nearly all of a log that ends at `last_log`.
    pub fn caught_up(&self, last_log: u64) -> bool {
        self.matched.is_some_and(|at| at + PROMOTE_LAG_ENTRIES >= last_log)
    }
}

/// Remembers since when learners are fit to vote: one that comes and goes, or falls behind, begins anew.
#[derive(Debug, Default)]
pub struct Promotions {
    fit_since: BTreeMap<NodeId, Moment>,
}

impl Promotions {
    /// The learner to promote now, while there are fewer voters than `wanted`: of those that were fit for
    /// [`PROMOTE_STABLE`] the one that is caught up best. To be called often against that time.
    pub fn next(
        &mut self,
        now: Moment,
        voters: usize,
        wanted: usize,
        learners: &[Learner],
        last_log: u64,
    ) -> Option<NodeId> {
        let fit = |learner: &&Learner| learner.eligible && learner.caught_up(last_log);
        let fit: Vec<&Learner> = learners.iter().filter(fit).collect();
        self.fit_since.retain(|id, _| fit.iter().any(|learner| learner.id == *id));
        for learner in &fit {
            self.fit_since.entry(learner.id).or_insert(now);
        }
        if voters >= wanted {
            return None;
        }
        let stable = |learner: &Learner| {
            self.fit_since.get(&learner.id).is_some_and(|since| now.since(*since) >= PROMOTE_STABLE)
        };
        fit.into_iter()
            .filter(|learner| stable(learner))
            .max_by_key(|learner| (learner.matched, std::cmp::Reverse(learner.id)))
            .map(|learner| learner.id)
    }

    /// Forgets everything: this node does not lead any more.
    pub fn clear(&mut self) {
        self.fit_since.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: usize = 3;

    fn learner(id: u64, matched: u64) -> Learner {
        Learner { id: NodeId(id), matched: Some(matched), eligible: true }
    }

    /// What is promoted once these learners have been seen for long enough.
    fn promoted(voters: usize, learners: &[Learner]) -> Option<NodeId> {
        let mut promotions = Promotions::default();
        let begun = Moment::from_millis(1_000);
        assert_eq!(promotions.next(begun, voters, WANTED, learners, 1_000), None, "at once");
        promotions.next(begun + PROMOTE_STABLE, voters, WANTED, learners, 1_000)
    }

    #[test]
    fn a_caught_up_learner_is_promoted_while_voters_are_missing() {
        assert_eq!(promoted(2, &[learner(4, 990), learner(5, 995)]), Some(NodeId(5)));
    }

    #[test]
    fn a_learner_that_lags_is_not() {
        let silent = Learner { matched: None, ..learner(5, 0) };
        assert_eq!(promoted(2, &[learner(4, 10), silent]), None);
    }

    #[test]
    fn a_learner_that_is_down_or_was_demoted_is_not() {
        assert_eq!(promoted(2, &[Learner { eligible: false, ..learner(4, 1_000) }]), None);
    }

    #[test]
    fn nobody_is_promoted_once_there_are_enough_voters() {
        assert_eq!(promoted(WANTED, &[learner(4, 1_000)]), None);
    }

    #[test]
    fn a_learner_that_falls_behind_meanwhile_begins_anew() {
        let mut promotions = Promotions::default();
        let begun = Moment::from_millis(1_000);
        let half = begun + PROMOTE_STABLE / 2;
        promotions.next(begun, 2, WANTED, &[learner(4, 1_000)], 1_000);
        promotions.next(half, 2, WANTED, &[learner(4, 10)], 1_000);
        promotions.next(half, 2, WANTED, &[learner(4, 1_000)], 1_000);
        assert_eq!(promotions.next(begun + PROMOTE_STABLE, 2, WANTED, &[learner(4, 1_000)], 1_000), None);
        assert_eq!(
            promotions.next(half + PROMOTE_STABLE, 2, WANTED, &[learner(4, 1_000)], 1_000),
            Some(NodeId(4))
        );
    }
}
