//! Histories for the checkers' own tests.

use std::time::Duration;

use tonic::Code;

use crate::history::{CallRecord, Ending, Execution, Known, OwnershipRecord, Sight};

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A call to `d` that ended so, 10 ms after it was sent.
pub(super) fn call(request_id: &str, ending: Option<Ending>) -> CallRecord {
    CallRecord {
        request_id: request_id.into(),
        device_id: "d".into(),
        through: "n1".into(),
        idempotent: false,
        sent_at: ms(0),
        ended: ending.map(|ending| (ms(10), ending)),
    }
}

pub(super) fn answered() -> Ending {
    Ending::Answered { device_id: "d".into(), node: "n1".into(), epoch: 1 }
}

pub(super) fn refused(known: Known) -> Ending {
    Ending::Refused { code: Code::Aborted, reason: "DEVICE_LOST".into(), known }
}

pub(super) fn lost() -> Ending {
    Ending::Lost { why: "broken pipe".into() }
}

pub(super) fn execution(request_id: &str, epoch: u64, from: u64, to: u64) -> Execution {
    Execution {
        device_id: "d".into(),
        process: 0,
        request_id: request_id.into(),
        epoch,
        started_at: ms(from),
        ended_at: Some(ms(to)),
    }
}

pub(super) fn sight(from: u64, to: u64, sight: Sight) -> OwnershipRecord {
    OwnershipRecord { device_id: "d".into(), from: ms(from), to: ms(to), sight }
}
