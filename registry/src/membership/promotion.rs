//! Which learner becomes a voter next. Pure; run by the leader, one change at a time.

use crate::limits::{PROMOTE_LAG_ENTRIES, VOTERS};

/// A learner as the leader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learner {
    /// Its Raft id.
    pub id: u64,
    /// The last log index it is known to hold.
    pub matched: Option<u64>,
}

/// The learner to promote now: the one that is caught up best, while there are fewer voters than wanted.
pub fn next_voter(voters: usize, learners: &[Learner], last_log: u64) -> Option<u64> {
    if voters >= VOTERS {
        return None;
    }
    learners
        .iter()
        .filter(|learner| learner.matched.is_some_and(|at| at + PROMOTE_LAG_ENTRIES >= last_log))
        .max_by_key(|learner| (learner.matched, std::cmp::Reverse(learner.id)))
        .map(|learner| learner.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learner(id: u64, matched: u64) -> Learner {
        Learner { id, matched: Some(matched) }
    }

    #[test]
    fn a_caught_up_learner_is_promoted_while_voters_are_missing() {
        assert_eq!(next_voter(2, &[learner(4, 990), learner(5, 995)], 1_000), Some(5));
    }

    #[test]
    fn a_learner_that_lags_is_not() {
        assert_eq!(next_voter(2, &[learner(4, 10), Learner { id: 5, matched: None }], 1_000), None);
    }

    #[test]
    fn nobody_is_promoted_once_there_are_enough_voters() {
        assert_eq!(next_voter(VOTERS, &[learner(4, 1_000)], 1_000), None);
    }
}
