//! What a caller makes of each failure: one table over all reasons, from the node's status to the client's decision.

use std::time::Duration;

use rollcall_node::api::status;
use rollcall_proto::{
    api,
    client::{CallError, Verdict, judge},
};
use rollcall_router::{Failure, Outcome, Reason};

/// When the client sends a call again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    /// If nothing ran; if perhaps it ran, as an idempotent call.
    Safely,
    /// If nothing ran, and the node says when.
    WhenTold,
    /// If perhaps it ran, as an idempotent call. If nothing ran it would be refused again.
    OnlyUncertain,
    /// Never.
    Never,
}

/// The table, by hand.
fn expected(reason: Reason) -> Again {
    match reason {
        Reason::StaleRoute
        | Reason::HolderUnreachable
        | Reason::HolderFenced
        | Reason::HolderDraining
        | Reason::DeviceEjected
        | Reason::DeviceLost
        | Reason::NoLeader
        | Reason::ShuttingDown => Again::Safely,
        Reason::DeviceBusy
        | Reason::QueueFull
        | Reason::SiteLost
        | Reason::Overloaded
        | Reason::RateLimited => Again::WhenTold,
        Reason::ReplyLost => Again::OnlyUncertain,
        Reason::NoDevice
        | Reason::NotConnected
        | Reason::DeviceDisabled
        | Reason::ActionUnknown
        | Reason::DeviceError
        | Reason::Deadline
        | Reason::Cancelled
        | Reason::PayloadTooLarge
        | Reason::RequestIdConflict
        | Reason::Unauthenticated
        | Reason::PermissionDenied
        | Reason::InvalidArgument
        | Reason::Internal => Again::Never,
    }
}

fn is_sent_again(failure: &Failure, idempotent: bool) -> bool {
    let by_status = CallError::from(status::of_failure(failure));
    let by_stream = CallError::from(status::to_proto(failure.clone()));
    assert_eq!(by_status, by_stream, "a stream and a status say the same");
    let verdict = judge(&by_status, idempotent);
    if let Verdict::Again(pause) = verdict {
        assert_eq!(pause, failure.retry_after, "the node's word on when counts");
    }
    verdict != Verdict::Final
}

#[test]
fn each_reason_is_sent_again_where_the_table_says_so_and_nowhere_else() {
    for reason in Reason::ALL {
        let [not_executed, unknown, executed] =
            Outcome::ALL.map(|outcome| Failure::new(reason, outcome, "words"));
        let told = not_executed.clone().retry_after(Duration::from_millis(40));
        let again = expected(reason);
        for idempotent in [true, false] {
            let safely = again == Again::Safely;
            assert_eq!(is_sent_again(&not_executed, idempotent), safely, "{reason}");
            let when_told = safely || again == Again::WhenTold;
            assert_eq!(is_sent_again(&told, idempotent), when_told, "{reason}, told when");
            assert!(!is_sent_again(&executed, idempotent), "{reason} ran");
        }
        let uncertain = matches!(again, Again::Safely | Again::OnlyUncertain);
        assert_eq!(is_sent_again(&unknown, true), uncertain, "{reason}, idempotent");
        assert!(!is_sent_again(&unknown, false), "{reason} may have run");
    }
}

#[test]
fn the_client_reads_every_reason_and_outcome() {
    for reason in Reason::ALL {
        for outcome in Outcome::ALL {
            let error = CallError::from(status::of_failure(&Failure::new(reason, outcome, "words")));
            assert_eq!((error.reason, &*error.reason_name), (reason.to_proto(), reason.as_str()));
            assert_eq!(error.outcome, outcome.to_proto());
            assert_ne!(error.outcome, api::Outcome::Unspecified);
        }
    }
}
