//! What is sent again, and what never: the outcome decides, not the code alone. Pure.

use std::time::Duration;

use tonic::Code;

use super::CallError;
use crate::api::{Outcome, Reason};

/// What a failed attempt means for its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the call's.
    Final,
    /// It may be sent again, through another node: after this pause if the server named one.
    Again(Option<Duration>),
}

/// Judges a failed attempt of a call that may run more than once under its request id, or may not.
///
/// - `NOT_EXECUTED` is sent again where the code is `UNAVAILABLE`, and where it is `RESOURCE_EXHAUSTED` and the server
///   says when. Everything else would be refused again.
/// - `UNKNOWN` is sent again only for an idempotent call, and neither after its deadline nor after a cancel.
/// - `EXECUTED` is never sent again.
#[must_use]
pub fn judge(error: &CallError, idempotent: bool) -> Verdict {
    if error.refuses_retry {
        return Verdict::Final;
    }
    let again = match error.outcome {
        Outcome::NotExecuted => match error.code {
            Code::Unavailable => true,
            Code::ResourceExhausted => error.retry_after.is_some(),
            _ => false,
        },
        Outcome::Unknown | Outcome::Unspecified => {
            // Without a reason it was the connection, or something between it and the node.
            let lost = error.code == Code::Aborted || error.reason_name.is_empty();
            idempotent && lost && !matches!(error.reason, Reason::Deadline | Reason::Cancelled)
        }
        Outcome::Executed => false,
    };
    if again { Verdict::Again(error.retry_after) } else { Verdict::Final }
}

/// What is known of a call after its last attempt: never less than after an earlier one.
pub(super) fn sum_up(last: CallError, uncertain: Option<CallError>) -> CallError {
    match uncertain {
        Some(_) if last.reason == Reason::Deadline => CallError { outcome: Outcome::Unknown, ..last },
        Some(uncertain) if last.outcome == Outcome::NotExecuted => uncertain,
        Some(_) | None => last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: Code, reason: Reason, outcome: Outcome) -> CallError {
        CallError::local(code, reason, outcome, "")
    }

    #[test]
    fn only_what_surely_did_not_run_is_sent_again_by_itself() {
        let unavailable = error(Code::Unavailable, Reason::HolderUnreachable, Outcome::NotExecuted);
        assert_eq!(judge(&unavailable, false), Verdict::Again(None));
        let busy = error(Code::ResourceExhausted, Reason::DeviceBusy, Outcome::NotExecuted);
        assert_eq!(judge(&busy, true), Verdict::Final);
        let when = Some(Duration::from_millis(70));
        assert_eq!(judge(&CallError { retry_after: when, ..busy }, false), Verdict::Again(when));
        let nobody = error(Code::FailedPrecondition, Reason::NoDevice, Outcome::NotExecuted);
        assert_eq!(judge(&nobody, true), Verdict::Final);
        assert_eq!(judge(&CallError { refuses_retry: true, ..unavailable }, true), Verdict::Final);
    }

    #[test]
    fn what_may_have_run_is_sent_again_only_if_it_is_idempotent() {
        for (code, reason) in [(Code::Aborted, Reason::DeviceLost), (Code::Unavailable, Reason::Unspecified)]
        {
            let lost = error(code, reason, Outcome::Unknown);
            assert_eq!(judge(&lost, false), Verdict::Final, "{lost}");
            assert_eq!(judge(&lost, true), Verdict::Again(None), "{lost}");
        }
        for (code, reason) in
            [(Code::DeadlineExceeded, Reason::Deadline), (Code::Cancelled, Reason::Cancelled)]
        {
            assert_eq!(judge(&error(code, reason, Outcome::Unknown), true), Verdict::Final);
        }
        for code in [Code::Aborted, Code::Unavailable, Code::Unknown] {
            assert_eq!(judge(&error(code, Reason::ReplyLost, Outcome::Executed), true), Verdict::Final);
        }
    }

    #[test]
    fn a_call_that_may_have_run_once_never_ends_as_not_executed() {
        let lost = error(Code::Aborted, Reason::DeviceLost, Outcome::Unknown);
        let refused = error(Code::Unavailable, Reason::NoLeader, Outcome::NotExecuted);
        assert_eq!(sum_up(refused.clone(), Some(lost.clone())), lost);
        assert_eq!(sum_up(refused.clone(), None), refused);
        let late = error(Code::DeadlineExceeded, Reason::Deadline, Outcome::NotExecuted);
        assert_eq!(sum_up(late, Some(lost)).outcome, Outcome::Unknown);
    }
}
