//! The words for calls that a session could not answer.

use std::time::Duration;

use rollcall_proto::device::{CloseCode, RefusedReason};

use crate::{
    core::{device::Refusal, returned::Fate},
    limits,
    outcome::{Failure, Outcome, Reason, Stage},
};

/// Why a caller no longer waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GiveUp {
    /// Its time ran out.
    Deadline,
    /// It went away.
    Cancelled,
    /// The node that it came through is gone, with whoever waits there.
    Lost,
}

/// Why a session's calls end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndCause {
    /// The connection is gone.
    Lost,
    /// A newer session took over.
    Superseded,
    /// An operator or the node ended it.
    Closed,
}

/// A call that its caller gave up.
pub(crate) fn given_up(why: GiveUp, stage: Stage, outcome: Outcome) -> Failure {
    match why {
        GiveUp::Deadline => Failure::deadline(stage, outcome),
        GiveUp::Cancelled => Failure::new(Reason::Cancelled, outcome, "the caller cancelled"),
        GiveUp::Lost => Failure::new(Reason::Cancelled, outcome, "the caller's node is gone"),
    }
}

/// A call whose session ended.
pub(crate) fn session_ended(cause: EndCause, outcome: Outcome) -> Failure {
    if outcome != Outcome::NotExecuted {
        return Failure::new(Reason::DeviceLost, outcome, "the device's session ended while it had the call");
    }
    match cause {
        EndCause::Lost => Failure::not_executed(
            Reason::DeviceLost,
            "the device's connection was lost before it got the call",
        ),
        EndCause::Superseded => {
            Failure::not_executed(Reason::StaleRoute, "a newer session of the device took over")
        }
        EndCause::Closed => Failure::not_executed(Reason::NotConnected, "the device's session was closed"),
    }
}

/// A call that the holder did not accept. `backlog`: how long until the device would have had a place.
pub(crate) fn not_admitted(refusal: Refusal, backlog: Option<Duration>) -> Failure {
    let failure = match refusal {
        Refusal::Busy => {
            Failure::not_executed(Reason::DeviceBusy, "the device runs as many calls as its capacity allows")
        }
        Refusal::QueueFull => {
            Failure::not_executed(Reason::QueueFull, "the queue in front of the device is full")
        }
        Refusal::Ejected => ejected(),
        Refusal::Retiring => {
            Failure::not_executed(Reason::StaleRoute, "a newer session of the device took over")
        }
        Refusal::Suspended => away(),
    };
    let advice = backlog.map(|wait| wait.clamp(limits::RETRY_AFTER_LEAST, limits::RETRY_AFTER_MOST));
    match (refusal, advice) {
        (Refusal::Busy | Refusal::QueueFull, Some(wait)) => failure.retry_after(wait),
        (
            Refusal::Busy | Refusal::QueueFull | Refusal::Ejected | Refusal::Retiring | Refusal::Suspended,
            _,
        ) => failure,
    }
}

/// A call that a node without its lease does not serve.
pub(crate) fn fenced() -> Failure {
    Failure::not_executed(Reason::HolderFenced, "the holder has lost touch with its cluster")
}

/// A new call to a device whose connection is lost.
pub(crate) fn away() -> Failure {
    Failure::not_executed(Reason::NotConnected, "the device's connection was lost; it may come back soon")
}

/// A call whose fate a returning device has told; `None`: it goes on.
pub(crate) fn settled(fate: Fate) -> Option<Failure> {
    match fate {
        Fate::Wait => None,
        Fate::NeverBegan => Some(Failure::not_executed(
            Reason::DeviceLost,
            "the device came back without the call: it never got it",
        )),
        Fate::ReplyLost => Some(Failure::new(
            Reason::ReplyLost,
            Outcome::Executed,
            "the call ran while the device was away, and its result was given up for room",
        )),
    }
}

/// What the calls that a device has do when its session ends so: the table of close codes, from the node's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallsThen {
    /// They wait for the device's return.
    Wait,
    /// They end: it will not come back to them.
    End,
}

impl From<CloseCode> for CallsThen {
    fn from(code: CloseCode) -> Self {
        match code {
            CloseCode::Unspecified
            | CloseCode::GoingAway
            | CloseCode::Heartbeat
            | CloseCode::Unavailable
            | CloseCode::Overloaded
            | CloseCode::TooLarge
            | CloseCode::TooSlow => Self::Wait,
            CloseCode::Superseded
            | CloseCode::ProtocolError
            | CloseCode::Version
            | CloseCode::Invalid
            | CloseCode::Unauthenticated
            | CloseCode::Forbidden
            | CloseCode::Disconnected => Self::End,
        }
    }
}

/// A call for a device that is kept out.
pub(crate) fn ejected() -> Failure {
    Failure::not_executed(
        Reason::DeviceEjected,
        "the device's handlers do not answer: it is kept out for now",
    )
    .retry_after(limits::PROBE_PAUSE)
}

/// A call for a device whose site is lost.
pub(crate) fn site_lost() -> Failure {
    let message = "most devices of the site were lost at once, and this one has given no sign of life since";
    Failure::not_executed(Reason::SiteLost, message).retry_after(limits::SITE_RETRY_AFTER)
}

/// A call that the agent did not start.
pub(crate) fn refused(reason: RefusedReason, message: String) -> Failure {
    let outcome = match reason {
        RefusedReason::ReplyLost => Outcome::Executed,
        RefusedReason::Unspecified
        | RefusedReason::Busy
        | RefusedReason::StaleEpoch
        | RefusedReason::ActionUnknown
        | RefusedReason::Stopping
        | RefusedReason::TooLarge
        | RefusedReason::Expired
        | RefusedReason::RequestIdConflict => Outcome::NotExecuted,
    };
    let (reason, text) = match reason {
        RefusedReason::Unspecified | RefusedReason::Busy => (Reason::DeviceBusy, "the agent is busy"),
        RefusedReason::StaleEpoch => (Reason::StaleRoute, "the agent has a newer session"),
        RefusedReason::ActionUnknown => (Reason::ActionUnknown, "the agent does not offer the action"),
        RefusedReason::Stopping => (Reason::NotConnected, "the agent is stopping"),
        RefusedReason::TooLarge => (Reason::PayloadTooLarge, "the payload is too large for the agent"),
        RefusedReason::RequestIdConflict => {
            (Reason::RequestIdConflict, "the agent knows the request id with another action or payload")
        }
        RefusedReason::ReplyLost => {
            (Reason::ReplyLost, "the call ran before, and the agent no longer has its result")
        }
        RefusedReason::Expired => return Failure::deadline(Stage::Device, Outcome::NotExecuted),
    };
    if message.is_empty() {
        Failure::new(reason, outcome, text)
    } else {
        Failure::new(reason, outcome, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTOCOL: &str = include_str!("../../../agent/docs/protocol.md");

    #[test]
    fn calls_wait_for_a_device_wherever_the_table_of_codes_lets_it_resume() {
        let mut rows = 0;
        for row in PROTOCOL.lines().skip_while(|line| !line.starts_with("| code |")).skip(2) {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            let [code, _, what, _] = cells[..] else { break };
            let name = format!("CLOSE_CODE_{}", code.trim_matches('`'));
            let code = CloseCode::from_str_name(&name).unwrap_or_else(|| panic!("no code {name}"));
            assert_eq!(CallsThen::from(code) == CallsThen::Wait, what == "resume", "{name}");
            rows += 1;
        }
        let codes = (0..).map_while(|number| CloseCode::try_from(number).ok()).count();
        assert_eq!(rows, codes, "each code has a row");
    }
}
