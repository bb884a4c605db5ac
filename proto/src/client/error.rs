//! How a call failed, as a type: from a gRPC status, or from a stream's failure.

use std::{error::Error as _, fmt, time::Duration};

use rollcall_transport::is_unsent;
use thiserror::Error;
use tonic::{Code, ConnectError, Status, TimeoutExpired};
use tonic_types::StatusExt;

use crate::api::{self, Outcome, Reason};

/// The domain of Rollcall's `ErrorInfo`; another's says nothing about a call.
const DOMAIN: &str = "rollcall";
/// The trailer by which servers say when to retry (gRFC A6).
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct CallError {
    /// The gRPC code.
    pub code: Code,
    /// Why, for programs; [`Reason::Unspecified`] if no node said so, or one that knows more reasons.
    pub reason: Reason,
    /// The reason's name, also of one that is not known here; empty: no node gave one.
    pub reason_name: Box<str>,
    /// What is known about the execution; never [`Outcome::Unspecified`].
    pub outcome: Outcome,
    /// Why, for people.
    pub message: Box<str>,
    /// The device that was chosen, if one was.
    pub device_id: Option<Box<str>>,
    /// The node on which the call failed, if known.
    pub node: Option<Box<str>>,
    /// For [`Reason::Deadline`]: where the time ran out.
    pub stage: Option<Box<str>>,
    /// When calling again may help.
    pub retry_after: Option<Duration>,
    /// The server asks not to retry, by a pushback that is no time.
    pub refuses_retry: bool,
    /// No connection to the node came about.
    pub unreachable: bool,
    /// The connection ended before the node had looked at the call, see [`rollcall_transport::is_unsent`].
    pub unsent: bool,
}

impl CallError {
    /// A failure that the client itself found.
    pub(super) fn local(code: Code, reason: Reason, outcome: Outcome, message: impl Into<Box<str>>) -> Self {
        Self {
            code,
            reason,
            reason_name: name_of(reason),
            outcome,
            message: message.into(),
            device_id: None,
            node: None,
            stage: None,
            retry_after: None,
            refuses_retry: false,
            unreachable: false,
            unsent: false,
        }
    }

    /// The deadline passed without any node's word.
    pub(super) fn deadline(outcome: Outcome) -> Self {
        Self::local(Code::DeadlineExceeded, Reason::Deadline, outcome, "the deadline passed")
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = self.outcome.as_str_name().trim_start_matches("OUTCOME_");
        match &*self.reason_name {
            "" => write!(f, "{:?} ({outcome}): {}", self.code, self.message),
            reason => write!(f, "{reason} ({outcome}): {}", self.message),
        }
    }
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN);
        let Some(info) = info else { return of_transport(&status) };
        let fact = |key: &str| info.metadata.get(key).map(|value| value.as_str().into());
        let named = |name: Box<str>| Outcome::from_str_name(&format!("OUTCOME_{name}"));
        let (retry_after, refuses_retry) = pushback(&status);
        Self {
            code: status.code(),
            reason: Reason::from_str_name(&format!("REASON_{}", info.reason)).unwrap_or_default(),
            reason_name: info.reason.as_str().into(),
            outcome: known(fact("outcome").and_then(named).unwrap_or_default()),
            message: status.message().into(),
            device_id: fact("device_id"),
            node: fact("node"),
            stage: fact("stage"),
            retry_after: details.retry_info().and_then(|info| info.retry_delay).or(retry_after),
            refuses_retry,
            unreachable: false,
            unsent: false,
        }
    }
}

impl From<api::Failure> for CallError {
    fn from(failure: api::Failure) -> Self {
        let named = |text: String| (!text.is_empty()).then(|| text.into());
        Self {
            code: Code::from_i32(failure.code),
            reason: failure.reason(),
            reason_name: name_of(failure.reason()),
            outcome: known(failure.outcome()),
            retry_after: failure.retry_after.and_then(|pause| pause.try_into().ok()),
            message: failure.message.into(),
            device_id: named(failure.device_id),
            node: named(failure.node),
            stage: named(failure.stage),
            refuses_retry: false,
            unreachable: false,
            unsent: false,
        }
    }
}

/// A status that no node of Rollcall made: a connection's, or a proxy's.
fn of_transport(status: &Status) -> CallError {
    let (retry_after, refuses_retry) = pushback(status);
    let error = |code, reason, outcome| CallError {
        retry_after,
        refuses_retry,
        ..CallError::local(code, reason, outcome, status.message())
    };
    if status.source().is_some_and(is_unsent) {
        let unsent = error(Code::Unavailable, Reason::Unspecified, Outcome::NotExecuted);
        return CallError { unsent: true, ..unsent };
    }
    let mut source = status.source();
    while let Some(cause) = source {
        if cause.is::<ConnectError>() {
            let failed = error(Code::Unavailable, Reason::Unspecified, Outcome::NotExecuted);
            return CallError { message: innermost(cause), unreachable: true, ..failed };
        }
        if cause.is::<TimeoutExpired>() {
            return error(Code::DeadlineExceeded, Reason::Deadline, Outcome::Unknown);
        }
        source = cause.source();
    }
    error(status.code(), Reason::Unspecified, Outcome::Unknown)
}

/// When the server says to retry by the trailer, and whether it says not to: by anything but a number of milliseconds.
fn pushback(status: &Status) -> (Option<Duration>, bool) {
    let Some(value) = status.metadata().get(PUSHBACK) else { return (None, false) };
    let millis = value.to_str().ok().and_then(|text| text.parse().ok());
    (millis.map(Duration::from_millis), millis.is_none())
}

/// A reader takes an outcome that is not said for unknown.
fn known(outcome: Outcome) -> Outcome {
    if outcome == Outcome::Unspecified { Outcome::Unknown } else { outcome }
}

fn name_of(reason: Reason) -> Box<str> {
    match reason {
        Reason::Unspecified => Box::default(),
        named => named.as_str_name().trim_start_matches("REASON_").into(),
    }
}

/// The cause that says most; the outer ones say "transport error".
fn innermost(error: &dyn std::error::Error) -> Box<str> {
    let mut deepest = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    deepest.to_string().into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic::metadata::MetadataMap;
    use tonic_types::ErrorDetails;

    use super::*;

    fn status(code: Code, reason: &str, outcome: &str, trailer: Option<&str>) -> Status {
        let facts = [("outcome", outcome), ("device_id", "d"), ("node", "n1"), ("stage", "queue")];
        let facts: HashMap<String, String> =
            facts.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let details = ErrorDetails::with_error_info(reason, DOMAIN, facts);
        let mut trailers = MetadataMap::new();
        if let Some(trailer) = trailer {
            trailers.insert(PUSHBACK, trailer.parse().expect("a value"));
        }
        Status::with_error_details_and_metadata(code, "words", details, trailers)
    }

    #[test]
    fn a_status_says_all_that_a_failure_says() {
        let error =
            CallError::from(status(Code::ResourceExhausted, "DEVICE_BUSY", "NOT_EXECUTED", Some("250")));
        assert_eq!((error.reason, error.outcome), (Reason::DeviceBusy, Outcome::NotExecuted));
        assert_eq!(error.retry_after, Some(Duration::from_millis(250)));
        assert_eq!((error.device_id.as_deref(), error.node.as_deref()), (Some("d"), Some("n1")));
        assert_eq!(error.to_string(), "DEVICE_BUSY (NOT_EXECUTED): words");
        let same = api::Failure {
            code: Code::ResourceExhausted as i32,
            reason: Reason::DeviceBusy.into(),
            outcome: Outcome::NotExecuted.into(),
            message: "words".into(),
            device_id: "d".into(),
            node: "n1".into(),
            retry_after: Duration::from_millis(250).try_into().ok(),
            stage: "queue".into(),
        };
        assert_eq!(CallError::from(same), error);
    }

    #[test]
    fn a_reason_that_is_not_known_here_keeps_its_name_and_its_outcome() {
        let error = CallError::from(status(Code::Aborted, "MOON_PHASE", "EXECUTED", None));
        assert_eq!((error.reason, &*error.reason_name), (Reason::Unspecified, "MOON_PHASE"));
        assert_eq!(error.outcome, Outcome::Executed);
    }

    #[test]
    fn what_no_node_said_is_unknown() {
        assert_eq!(CallError::from(Status::unavailable("a proxy")).outcome, Outcome::Unknown);
        let odd = CallError::from(status(Code::Unavailable, "NO_LEADER", "PERHAPS", None));
        assert_eq!(odd.outcome, Outcome::Unknown);
    }

    #[test]
    fn a_pushback_that_is_no_time_forbids_retries() {
        for trailer in ["-1", "soon", ""] {
            assert!(
                CallError::from(status(Code::Unavailable, "NO_LEADER", "NOT_EXECUTED", Some(trailer)))
                    .refuses_retry
            );
        }
    }
}
