//! What is tried again by itself, and how much of it: a budget keeps retries from multiplying a failing load.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::outcome::{Failure, Outcome, Reason};

/// Whether a call may be executed more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeatable {
    /// Under its request id.
    Yes,
    /// At most once.
    No,
}

/// What a failure of an attempt means for the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the call's.
    Final,
    /// Surely nothing ran this time: as before, and costs no budget.
    AsBefore,
    /// Perhaps it ran: again, towards whoever took over.
    Again,
}

/// Judges a failed attempt. `uncertain`: an earlier attempt may have run.
pub(crate) fn judge(failure: &Failure, repeatable: Repeatable, uncertain: Option<&Failure>) -> Verdict {
    match (repeatable, failure.outcome) {
        (Repeatable::No, _) | (Repeatable::Yes, Outcome::Executed) => Verdict::Final,
        (Repeatable::Yes, Outcome::Unknown) => match failure.reason {
            // A deadline that is not the caller's own was that of a call whose execution it shared.
            Reason::DeviceLost | Reason::HolderUnreachable | Reason::Deadline => Verdict::Again,
            _ => Verdict::Final,
        },
        (Repeatable::Yes, Outcome::NotExecuted) => {
            let nobody_there = matches!(failure.reason, Reason::NoDevice | Reason::NotConnected);
            let may_change = failure.retryable() || nobody_there;
            if uncertain.is_some() && may_change { Verdict::AsBefore } else { Verdict::Final }
        }
    }
}

/// What is known of a call after its last attempt: never less than after an earlier one.
pub(crate) fn sum_up(last: Failure, uncertain: Option<Failure>) -> Failure {
    match uncertain {
        Some(_) if last.reason == Reason::Deadline => Failure { outcome: Outcome::Unknown, ..last },
        Some(uncertain) if last.outcome == Outcome::NotExecuted => uncertain,
        Some(_) | None => last,
    }
}

/// A budget of retries: each call pays in a fifth of one, so that a failing cluster gets a fifth more load at most.
#[derive(Debug)]
pub(crate) struct Budget {
    fifths: AtomicU32,
    most: u32,
}

impl Budget {
    /// A full budget of this many retries.
    pub(crate) fn new(retries: u32) -> Self {
        Self { fifths: AtomicU32::new(retries * 5), most: retries * 5 }
    }

    /// A call came that may be retried. Writes nothing while the budget is full, as it is on a good day.
    pub(crate) fn pay_in(&self) {
        if self.fifths.load(Ordering::Relaxed) < self.most {
            let more = |fifths: u32| (fifths < self.most).then_some(fifths + 1);
            // Full meanwhile is as good.
            let _ = self.fifths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        }
    }

    /// Whether there is one left.
    pub(crate) fn has_one(&self) -> bool {
        self.fifths.load(Ordering::Relaxed) >= 5
    }

    /// Takes one retry out; `false`: there is none.
    pub(crate) fn take(&self) -> bool {
        let less = |fifths: u32| fifths.checked_sub(5);
        self.fifths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failure() -> impl Strategy<Value = Failure> {
        let (reasons, outcomes) = (Reason::ALL.to_vec(), Outcome::ALL.to_vec());
        (prop::sample::select(reasons), prop::sample::select(outcomes))
            .prop_map(|(reason, outcome)| Failure::new(reason, outcome, ""))
    }

    #[test]
    fn the_budget_lets_a_fifth_of_the_calls_be_retried() {
        let budget = Budget::new(10);
        let at_first = (0..100).filter(|_| budget.take()).count();
        assert_eq!(at_first, 10);
        let later = (0..1_000)
            .filter(|_| {
                budget.pay_in();
                budget.take()
            })
            .count();
        assert_eq!(later, 200);
    }

    /// What the gateway does by itself after each failure: elsewhere when nothing ran, and again, as an idempotent call,
    /// when perhaps it did.
    fn tried_again(reason: Reason) -> (bool, bool) {
        match reason {
            Reason::StaleRoute
            | Reason::HolderFenced
            | Reason::HolderDraining
            | Reason::NotConnected
            | Reason::DeviceBusy
            | Reason::QueueFull
            | Reason::DeviceEjected
            | Reason::SiteLost
            | Reason::Overloaded => (true, false),
            Reason::HolderUnreachable | Reason::DeviceLost => (true, true),
            Reason::Deadline => (false, true),
            Reason::NoDevice
            | Reason::DeviceDisabled
            | Reason::ActionUnknown
            | Reason::DeviceError
            | Reason::Cancelled
            | Reason::PayloadTooLarge
            | Reason::RequestIdConflict
            | Reason::ReplyLost
            | Reason::NoLeader
            | Reason::RateLimited
            | Reason::Unauthenticated
            | Reason::PermissionDenied
            | Reason::InvalidArgument
            | Reason::ShuttingDown
            | Reason::Internal => (false, false),
        }
    }

    #[test]
    fn each_reason_is_tried_again_where_the_table_says_so_and_nowhere_else() {
        for reason in Reason::ALL {
            let (elsewhere, idempotent) = tried_again(reason);
            let [not_executed, unknown, executed] =
                Outcome::ALL.map(|outcome| Failure::new(reason, outcome, ""));
            assert_eq!(not_executed.retryable(), elsewhere, "{reason}");
            assert!(!unknown.retryable() && !executed.retryable(), "{reason}");
            let verdict = judge(&unknown, Repeatable::Yes, None);
            assert_eq!(verdict == Verdict::Again, idempotent, "{reason}");
            for failure in [&not_executed, &unknown, &executed] {
                assert_eq!(judge(failure, Repeatable::No, None), Verdict::Final, "{reason}");
            }
            assert_eq!(judge(&executed, Repeatable::Yes, None), Verdict::Final, "{reason}");
        }
    }

    proptest! {
        #[test]
        fn a_call_not_idempotent_is_executed_at_most_once_and_no_failure_forgets_what_may_have_run(
            failures in prop::collection::vec(failure(), 1..12), idempotent: bool,
        ) {
            let repeatable = if idempotent { Repeatable::Yes } else { Repeatable::No };
            let (mut may_have_run, mut uncertain) = (0, None);
            for failure in failures {
                may_have_run += u32::from(failure.outcome != Outcome::NotExecuted);
                match judge(&failure, repeatable, uncertain.as_ref()) {
                    Verdict::Again => uncertain = Some(failure),
                    Verdict::AsBefore => {}
                    Verdict::Final => {
                        let told = sum_up(failure, uncertain.take());
                        prop_assert_eq!(told.outcome == Outcome::NotExecuted, may_have_run == 0);
                        break;
                    }
                }
            }
            prop_assert!(idempotent || may_have_run <= 1);
        }
    }
}
