//! The one table from failures to gRPC statuses. Every status carries exactly one `google.rpc.ErrorInfo`.

use std::{collections::HashMap, time::Duration};

use rollcall_proto::api;
use rollcall_registry::{
    AdministerError, ChangeError, MembershipError, ReadError, Refusal as MembershipRefusal,
    backup::SaveError,
    model::{
        ids::Etag,
        rejection::{ChangeRejection, RecordRejection},
    },
};
use rollcall_router::{Failure, Outcome, Reason};
use tonic::{Code, Status, metadata::MetadataMap};
use tonic_types::{ErrorDetails, StatusExt};

use super::{validate::Invalid, view};
use crate::limits::BACKUP_RETRY_AFTER;

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "rollcall";

/// The trailer by which stock gRPC clients learn when to retry (gRFC A6).
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Reasons of requests that are no calls; a caller of `Invoke` never sees them.
pub mod reason {
    /// A watch cannot resume: list again.
    pub const CURSOR_TOO_OLD: &str = "CURSOR_TOO_OLD";
    /// This node has not applied the index that was asked for.
    pub const REPLICA_BEHIND: &str = "REPLICA_BEHIND";
    /// Another node has to be asked; the metadata `node` and `api_addr` say which.
    pub const OTHER_NODE: &str = "OTHER_NODE";
    /// The session is at another epoch; the metadata `epoch` says at which.
    pub const EPOCH_MISMATCH: &str = "EPOCH_MISMATCH";
    /// No node has the name.
    pub const UNKNOWN_NODE: &str = "UNKNOWN_NODE";
    /// The node is the last voter.
    pub const LAST_VOTER: &str = "LAST_VOTER";
    /// The voters that would be left and are reachable are no quorum.
    pub const QUORUM_AT_RISK: &str = "QUORUM_AT_RISK";
    /// Another change of the membership runs.
    pub const CHANGE_IN_PROGRESS: &str = "CHANGE_IN_PROGRESS";
    /// There are as many voters as wanted.
    pub const VOTERS_COMPLETE: &str = "VOTERS_COMPLETE";
    /// The learner lags behind.
    pub const NOT_CAUGHT_UP: &str = "NOT_CAUGHT_UP";
    /// The node does not vote.
    pub const NOT_A_VOTER: &str = "NOT_A_VOTER";
    /// The leader does not hear from the node.
    pub const NOT_REACHABLE: &str = "NOT_REACHABLE";
    /// No other voter can lead.
    pub const NO_OTHER_VOTER: &str = "NO_OTHER_VOTER";
    /// The change may have been made; asking again completes it.
    pub const OUTCOME_UNKNOWN: &str = "OUTCOME_UNKNOWN";
    /// The device has a record already; the metadata `etag` says which.
    pub const DEVICE_EXISTS: &str = "DEVICE_EXISTS";
    /// The record has another etag than the request names; the metadata `etag` says which. Read it again, then decide again.
    pub const ETAG_MISMATCH: &str = "ETAG_MISMATCH";
    /// As many groups have a policy as may have one.
    pub const TOO_MANY_GROUP_POLICIES: &str = "TOO_MANY_GROUP_POLICIES";
    /// The cluster is at a lower feature level than the change needs; the metadata `needed` and `feature_level` say which.
    pub const FEATURE_LEVEL_TOO_LOW: &str = "FEATURE_LEVEL_TOO_LOW";
    /// The node that was asked lets anybody do anything, so that it cannot say what its caller may store.
    pub const ACCESS_IS_OPEN: &str = "ACCESS_IS_OPEN";
}

/// The code of a failure.
///
/// UNAVAILABLE stands only with [`Outcome::NotExecuted`], because stock clients and meshes retry it by themselves.
pub fn code(reason: Reason, outcome: Outcome) -> Code {
    match reason {
        Reason::HolderUnreachable
        | Reason::HolderFenced
        | Reason::HolderDraining
        | Reason::StaleRoute
        | Reason::NoLeader
        | Reason::DeviceEjected
        | Reason::DeviceLost
        | Reason::ShuttingDown => match outcome {
            Outcome::NotExecuted => Code::Unavailable,
            Outcome::Unknown | Outcome::Executed => Code::Aborted,
        },
        Reason::NoDevice | Reason::NotConnected | Reason::DeviceDisabled => Code::FailedPrecondition,
        Reason::ActionUnknown => Code::Unimplemented,
        Reason::DeviceBusy
        | Reason::QueueFull
        | Reason::Overloaded
        | Reason::RateLimited
        | Reason::SiteLost => Code::ResourceExhausted,
        Reason::PayloadTooLarge => Code::OutOfRange,
        Reason::RequestIdConflict => Code::AlreadyExists,
        Reason::ReplyLost => Code::Aborted,
        Reason::DeviceError => Code::Unknown,
        Reason::Deadline => Code::DeadlineExceeded,
        Reason::Cancelled => Code::Cancelled,
        Reason::Unauthenticated => Code::Unauthenticated,
        Reason::PermissionDenied => Code::PermissionDenied,
        Reason::InvalidArgument => Code::InvalidArgument,
        Reason::Internal => Code::Internal,
    }
}

/// The status of a failed call.
pub fn of_failure(failure: &Failure) -> Status {
    let mut metadata = HashMap::from([("outcome".to_owned(), failure.outcome.as_str().to_owned())]);
    let mut add = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            metadata.insert(key.to_owned(), value.to_owned());
        }
    };
    add("device_id", failure.device_id.as_deref());
    add("node", failure.node.as_deref());
    add("stage", failure.stage.map(|stage| stage.as_str()));
    Refusal(Box::new(Parts {
        code: code(failure.reason, failure.outcome),
        reason: failure.reason.as_str(),
        message: failure.message.to_string(),
        metadata,
        retry_after: failure.retry_after,
        invalid: None,
    }))
    .into()
}

/// A failed call, as a stream carries it.
pub fn to_proto(failure: Failure) -> api::Failure {
    api::Failure {
        code: code(failure.reason, failure.outcome) as i32,
        reason: failure.reason.to_proto() as i32,
        outcome: failure.outcome.to_proto() as i32,
        message: failure.message.into_owned(),
        device_id: failure.device_id.map(String::from).unwrap_or_default(),
        node: failure.node.map(String::from).unwrap_or_default(),
        retry_after: failure.retry_after.and_then(|pause| pause.try_into().ok()),
        stage: failure.stage.map(|stage| stage.as_str().to_owned()).unwrap_or_default(),
    }
}

/// Why a request that is no call was refused. The only maker of statuses.
#[derive(Debug, Clone)]
pub struct Refusal(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    code: Code,
    reason: &'static str,
    message: String,
    metadata: HashMap<String, String>,
    retry_after: Option<Duration>,
    invalid: Option<Invalid>,
}

impl Refusal {
    /// A refusal with nothing but a code, a reason and words.
    pub fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            code,
            reason,
            message: message.into(),
            metadata: HashMap::new(),
            retry_after: None,
            invalid: None,
        }))
    }

    /// The same, with one more fact for programs.
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.0.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// The same, with advice on when to ask again.
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.0.retry_after = Some(pause);
        self
    }

    /// The registry does not know the device.
    pub fn unknown_device(device_id: &str) -> Self {
        let message = format!("the registry does not know the device {device_id}");
        Self::new(Code::NotFound, Reason::NoDevice.as_str(), message).with("device_id", device_id)
    }

    /// The device is not connected.
    pub fn not_connected(device_id: &str) -> Self {
        let message = format!("the device {device_id} is not connected");
        Self::new(Code::FailedPrecondition, Reason::NotConnected.as_str(), message)
            .with("device_id", device_id)
    }

    /// The device's session is at another epoch than the request names.
    pub fn epoch_mismatch(device_id: &str, epoch: u64) -> Self {
        let message = format!("the session of {device_id} is at epoch {epoch}");
        Self::new(Code::FailedPrecondition, reason::EPOCH_MISMATCH, message)
            .with("device_id", device_id)
            .with("epoch", epoch.to_string())
    }

    /// A change by an administrator was not made, or not surely.
    ///
    /// Another etag is ABORTED, as AIP-154 has it: the caller is to read again and decide again, which no retry of the
    /// same request does.
    pub fn of_administration(device_id: &str, error: &AdministerError) -> Self {
        let words = error.to_string();
        let of_reason = |reason: Reason, outcome| Self::new(code(reason, outcome), reason.as_str(), &words);
        match error {
            AdministerError::NoLeader { retry_after } => {
                of_reason(Reason::NoLeader, Outcome::NotExecuted).retry_after(*retry_after)
            }
            AdministerError::Unknown => {
                of_reason(Reason::NoLeader, Outcome::Unknown).with("outcome", Outcome::Unknown.as_str())
            }
            AdministerError::Behind(index) => Self::new(Code::Aborted, reason::REPLICA_BEHIND, words)
                .with("outcome", Outcome::Executed.as_str())
                .with("index", index.to_string()),
            AdministerError::Rejected(RecordRejection::Missing) => Self::unknown_device(device_id),
            AdministerError::Rejected(RecordRejection::Exists { etag }) => {
                Self::of_record(Code::AlreadyExists, reason::DEVICE_EXISTS, device_id, *etag, words)
            }
            AdministerError::Rejected(RecordRejection::EtagMismatch { current }) => {
                Self::of_record(Code::Aborted, reason::ETAG_MISMATCH, device_id, *current, words)
            }
            AdministerError::AboveLevel { command, cluster } => {
                Self::new(Code::FailedPrecondition, reason::FEATURE_LEVEL_TOO_LOW, words)
                    .with("outcome", Outcome::NotExecuted.as_str())
                    .with("needed", command.0.to_string())
                    .with("feature_level", cluster.0.to_string())
            }
            AdministerError::Refused(_) => of_reason(Reason::Internal, Outcome::NotExecuted),
            AdministerError::Stopping => of_reason(Reason::ShuttingDown, Outcome::NotExecuted),
        }
    }

    fn of_record(code: Code, reason: &'static str, device_id: &str, etag: Etag, words: String) -> Self {
        let refusal = Self::new(code, reason, words).with("device_id", device_id);
        refusal.with("etag", view::etag(etag))
    }

    /// The transport refused a message before anybody read it; what it says carries no `ErrorInfo`.
    pub fn of_transport(status: &Status) -> Self {
        let (code, reason) = match status.code() {
            Code::OutOfRange => (Code::OutOfRange, Reason::PayloadTooLarge),
            // tonic's code for what it cannot decode.
            Code::Internal => (Code::InvalidArgument, Reason::InvalidArgument),
            Code::Cancelled => (Code::Cancelled, Reason::Cancelled),
            Code::DeadlineExceeded => (Code::DeadlineExceeded, Reason::Deadline),
            other => (other, Reason::Internal),
        };
        Self::new(code, reason.as_str(), status.message()).with("outcome", Outcome::NotExecuted.as_str())
    }

    /// A change of a session did not happen.
    pub fn of_change(device_id: &str, error: &ChangeError) -> Self {
        let unavailable = |reason: Reason| Self::new(Code::Unavailable, reason.as_str(), error.to_string());
        match error {
            ChangeError::NoLeader { retry_after } => unavailable(Reason::NoLeader).retry_after(*retry_after),
            ChangeError::QueueFull { retry_after } => {
                Self::new(Code::ResourceExhausted, Reason::Overloaded.as_str(), error.to_string())
                    .retry_after(*retry_after)
            }
            ChangeError::Rejected(ChangeRejection::EpochMismatch { current }) if current.0 == 0 => {
                Self::not_connected(device_id)
            }
            ChangeError::Rejected(
                ChangeRejection::EpochMismatch { current: epoch }
                | ChangeRejection::OlderAttach { newer: epoch },
            ) => Self::epoch_mismatch(device_id, epoch.0),
            ChangeError::Rejected(ChangeRejection::Disabled) => {
                Self::new(Code::FailedPrecondition, Reason::DeviceDisabled.as_str(), error.to_string())
            }
            // Nothing but an attach is refused so.
            ChangeError::Rejected(ChangeRejection::NotRegistered) => Self::unknown_device(device_id),
            ChangeError::TooLarge { .. } => {
                Self::new(Code::InvalidArgument, Reason::InvalidArgument.as_str(), error.to_string())
            }
            ChangeError::Lapsed => unavailable(Reason::HolderFenced),
            ChangeError::Stopping => unavailable(Reason::ShuttingDown),
        }
    }
}

impl From<MembershipError> for Refusal {
    fn from(error: MembershipError) -> Self {
        let (code, reason) = match &error {
            MembershipError::Refused { refusal, .. } => of_refusal(*refusal),
            MembershipError::NoLeader => (Code::Unavailable, Reason::NoLeader.as_str()),
            MembershipError::Unknown(_) => (Code::Aborted, reason::OUTCOME_UNKNOWN),
        };
        Self::new(code, reason, error.to_string())
    }
}

/// The leader's refusal of a change of the membership.
fn of_refusal(refusal: MembershipRefusal) -> (Code, &'static str) {
    match refusal {
        MembershipRefusal::UnknownNode => (Code::NotFound, reason::UNKNOWN_NODE),
        MembershipRefusal::ChangeInProgress => (Code::Aborted, reason::CHANGE_IN_PROGRESS),
        MembershipRefusal::LastVoter => (Code::FailedPrecondition, reason::LAST_VOTER),
        MembershipRefusal::QuorumAtRisk => (Code::FailedPrecondition, reason::QUORUM_AT_RISK),
        MembershipRefusal::VotersComplete => (Code::FailedPrecondition, reason::VOTERS_COMPLETE),
        MembershipRefusal::NotCaughtUp => (Code::FailedPrecondition, reason::NOT_CAUGHT_UP),
        MembershipRefusal::NotAVoter => (Code::FailedPrecondition, reason::NOT_A_VOTER),
        MembershipRefusal::NotReachable => (Code::FailedPrecondition, reason::NOT_REACHABLE),
        MembershipRefusal::NoOtherVoter => (Code::FailedPrecondition, reason::NO_OTHER_VOTER),
    }
}

impl From<SaveError> for Refusal {
    fn from(error: SaveError) -> Self {
        let text = error.to_string();
        let (code, reason) = match error {
            SaveError::NoCluster => (Code::Unavailable, Reason::NoLeader),
            SaveError::Read(error) => {
                let Parts { code, reason, .. } = *Self::from(error).0;
                return Self::new(code, reason, text);
            }
            SaveError::Busy => {
                return Self::new(Code::ResourceExhausted, Reason::Overloaded.as_str(), text)
                    .retry_after(BACKUP_RETRY_AFTER);
            }
            SaveError::Build(_) | SaveError::Snapshot(_) => (Code::Internal, Reason::Internal),
        };
        Self::new(code, reason.as_str(), text)
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        let reason = match error {
            ReadError::NoLeader => Reason::NoLeader.as_str(),
            ReadError::Behind { .. } => reason::REPLICA_BEHIND,
        };
        Self::new(Code::Unavailable, reason, error.to_string())
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        let reason = invalid.reason();
        let mut refusal = Self::new(code(reason, Outcome::NotExecuted), reason.as_str(), invalid.to_string())
            .with("outcome", Outcome::NotExecuted.as_str())
            .with("field", invalid.field);
        refusal.0.invalid = Some(invalid);
        refusal
    }
}

impl From<Invalid> for Status {
    fn from(invalid: Invalid) -> Self {
        Refusal::from(invalid).into()
    }
}

impl From<Refusal> for Status {
    fn from(Refusal(refusal): Refusal) -> Self {
        let mut details = ErrorDetails::with_error_info(refusal.reason, DOMAIN, refusal.metadata);
        let mut trailers = MetadataMap::new();
        if let Some(pause) = refusal.retry_after {
            details.set_retry_info(Some(pause));
            if let Ok(pushback) = pause.as_millis().min(i32::MAX as u128).to_string().parse() {
                trailers.insert(PUSHBACK, pushback);
            }
        }
        if let Some(invalid) = refusal.invalid {
            details.add_bad_request_violation(invalid.field, invalid.problem);
        }
        Status::with_error_details_and_metadata(refusal.code, refusal.message, details, trailers)
    }
}
