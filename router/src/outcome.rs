//! How a call fails: the reason, what is known about its execution, and where its time ran out.
//!
//! The table from reasons to gRPC codes does not live here: it is the API's.

use std::{borrow::Cow, fmt, time::Duration};

use compact_str::CompactString;
use rollcall_proto::api;
use thiserror::Error;

/// What is known about the execution of a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The device's handler never started. Calling again is safe.
    NotExecuted,
    /// The call was handed to the device, or to a link, and nothing certain came back.
    Unknown,
    /// The handler ran; its answer is an error or could not be delivered.
    Executed,
}

impl Outcome {
    /// All of them, in the order of their proto values.
    pub const ALL: [Self; 3] = [Self::NotExecuted, Self::Unknown, Self::Executed];

    /// The name in error details: `NOT_EXECUTED`, `UNKNOWN`, `EXECUTED`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotExecuted => "NOT_EXECUTED",
            Self::Unknown => "UNKNOWN",
            Self::Executed => "EXECUTED",
        }
    }

    /// The proto value.
    pub fn to_proto(self) -> api::Outcome {
        match self {
            Self::NotExecuted => api::Outcome::NotExecuted,
            Self::Unknown => api::Outcome::Unknown,
            Self::Executed => api::Outcome::Executed,
        }
    }

    /// The outcome of a proto value; one that says nothing is [`Self::Unknown`].
    pub fn from_proto(value: api::Outcome) -> Self {
        match value {
            api::Outcome::NotExecuted => Self::NotExecuted,
            api::Outcome::Unspecified | api::Outcome::Unknown => Self::Unknown,
            api::Outcome::Executed => Self::Executed,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a call's time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Waiting for a device, or for room on it.
    Queue,
    /// On the way to the node that holds the device.
    Forward,
    /// Waiting for the device's transport to take the frame.
    Write,
    /// On the device.
    Device,
}

impl Stage {
    /// The name in error details: `queue`, `forward`, `write`, `device`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Forward => "forward",
            Self::Write => "write",
            Self::Device => "device",
        }
    }

    /// The stage of a name; `None` for any other text.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Queue, Self::Forward, Self::Write, Self::Device]
            .into_iter()
            .find(|stage| stage.as_str() == name)
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a call failed. Additive: callers tolerate names they do not know.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// All of them, in the order of their proto values.
            pub const ALL: [Self; [$(stringify!($name)),*].len()] = [$(Self::$name),*];

            /// The name in error details, as in `google.rpc.ErrorInfo.reason`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The proto value.
            pub fn to_proto(self) -> api::Reason {
                match self { $(Self::$name => api::Reason::$name,)* }
            }

            /// The reason of a proto value; one that says nothing is [`Self::Internal`].
            pub fn from_proto(value: api::Reason) -> Self {
                match value {
                    api::Reason::Unspecified => Self::Internal,
                    $(api::Reason::$name => Self::$name,)*
                }
            }
        }
    };
}

reasons! {
    /// No connected device of that namespace and group matches the labels.
    NoDevice = "NO_DEVICE",
    /// The named device is not connected.
    NotConnected = "NOT_CONNECTED",
    /// The device moved to a newer session while the call was on its way.
    StaleRoute = "STALE_ROUTE",
    /// The node that holds the device cannot be reached.
    HolderUnreachable = "HOLDER_UNREACHABLE",
    /// The node that holds the device has lost its lease and refuses forwarded calls.
    HolderFenced = "HOLDER_FENCED",
    /// The node that holds the device is shutting down.
    HolderDraining = "HOLDER_DRAINING",
    /// The device runs as many calls as its capacity allows.
    DeviceBusy = "DEVICE_BUSY",
    /// The bounded queue in front of the device is full.
    QueueFull = "QUEUE_FULL",
    /// The device failed its health check and is kept out for a while.
    DeviceEjected = "DEVICE_EJECTED",
    /// An administrator disabled the device.
    DeviceDisabled = "DEVICE_DISABLED",
    /// Devices are there, none of them offers the action.
    ActionUnknown = "ACTION_UNKNOWN",
    /// The device's connection was lost with the call in flight.
    DeviceLost = "DEVICE_LOST",
    /// The device's handler reported an error.
    DeviceError = "DEVICE_ERROR",
    /// The deadline passed; the stage says where.
    Deadline = "DEADLINE",
    /// The caller cancelled.
    Cancelled = "CANCELLED",
    /// The payload or the reply is larger than the limit.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE",
    /// The request id was used before with another payload.
    RequestIdConflict = "REQUEST_ID_CONFLICT",
    /// The call ran before, and its kept reply was evicted.
    ReplyLost = "REPLY_LOST",
    /// The cluster has no leader that could commit the change.
    NoLeader = "NO_LEADER",
    /// The node sheds load.
    Overloaded = "OVERLOADED",
    /// A rate limit was hit.
    RateLimited = "RATE_LIMITED",
    /// Who calls could not be established.
    Unauthenticated = "UNAUTHENTICATED",
    /// Who calls may not do this.
    PermissionDenied = "PERMISSION_DENIED",
    /// The request is malformed; the message names the field.
    InvalidArgument = "INVALID_ARGUMENT",
    /// The node that was asked is shutting down.
    ShuttingDown = "SHUTTING_DOWN",
    /// A fault of the gateway itself.
    Internal = "INTERNAL",
    /// Most devices of the site were lost at once; this one, or all of them, have given no sign of life since.
    SiteLost = "SITE_LOST",
}

/// Whose problem a failed call is, for those who are woken by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Who called: asks for what is not there or not allowed, too much, or gave up.
    Caller,
    /// The devices: away, busy, slow or failing.
    Device,
    /// Rollcall: a node, a link, the cluster.
    Cluster,
}

impl Fault {
    /// The name in metrics: `caller`, `device`, `cluster`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Device => "device",
            Self::Cluster => "cluster",
        }
    }
}

impl Reason {
    /// Whose problem it is. A deadline is the device's: the rest of the way takes milliseconds.
    pub fn fault(self) -> Fault {
        match self {
            Self::NoDevice
            | Self::DeviceDisabled
            | Self::ActionUnknown
            | Self::Cancelled
            | Self::PayloadTooLarge
            | Self::RequestIdConflict
            | Self::RateLimited
            | Self::Unauthenticated
            | Self::PermissionDenied
            | Self::InvalidArgument => Fault::Caller,
            Self::NotConnected
            | Self::DeviceBusy
            | Self::QueueFull
            | Self::DeviceEjected
            | Self::DeviceLost
            | Self::DeviceError
            | Self::Deadline
            | Self::SiteLost => Fault::Device,
            Self::StaleRoute
            | Self::HolderUnreachable
            | Self::HolderFenced
            | Self::HolderDraining
            | Self::ReplyLost
            | Self::NoLeader
            | Self::Overloaded
            | Self::ShuttingDown
            | Self::Internal => Fault::Cluster,
        }
    }

    /// Whether another node or device may well take a call that failed so before it was executed.
    pub fn others_may_help(self) -> bool {
        match self {
            Self::NotConnected
            | Self::StaleRoute
            | Self::HolderUnreachable
            | Self::HolderFenced
            | Self::HolderDraining
            | Self::DeviceBusy
            | Self::QueueFull
            | Self::DeviceEjected
            | Self::DeviceLost
            | Self::SiteLost
            | Self::Overloaded => true,
            Self::NoDevice
            | Self::DeviceDisabled
            | Self::ActionUnknown
            | Self::DeviceError
            | Self::Deadline
            | Self::Cancelled
            | Self::PayloadTooLarge
            | Self::RequestIdConflict
            | Self::ReplyLost
            | Self::NoLeader
            | Self::RateLimited
            | Self::Unauthenticated
            | Self::PermissionDenied
            | Self::InvalidArgument
            | Self::ShuttingDown
            | Self::Internal => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a call failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason} ({outcome}): {message}")]
pub struct Failure {
    /// Why, for programs.
    pub reason: Reason,
    /// What is known about the execution.
    pub outcome: Outcome,
    /// Why, for people. Not stable.
    pub message: Cow<'static, str>,
    /// The device that was chosen, if one was.
    pub device_id: Option<CompactString>,
    /// The node on which the call failed, if known.
    pub node: Option<CompactString>,
    /// When calling again may help; `None` where it does not.
    pub retry_after: Option<Duration>,
    /// For [`Reason::Deadline`]: where the time ran out.
    pub stage: Option<Stage>,
}

impl Failure {
    /// A failure that names neither device nor node.
    pub fn new(reason: Reason, outcome: Outcome, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            outcome,
            message: message.into(),
            device_id: None,
            node: None,
            retry_after: None,
            stage: None,
        }
    }

    /// A failure of a call that surely was not executed.
    pub fn not_executed(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(reason, Outcome::NotExecuted, message)
    }

    /// The deadline passed in this stage.
    pub fn deadline(stage: Stage, outcome: Outcome) -> Self {
        let message = match stage {
            Stage::Queue => "the deadline passed before a device had room",
            Stage::Forward => "the deadline passed on the way to the device's node",
            Stage::Write => "the deadline passed before the device's transport took the call",
            Stage::Device => "the deadline passed while the device had the call",
        };
        Self { stage: Some(stage), ..Self::new(Reason::Deadline, outcome, message) }
    }

    /// The same, naming the device.
    pub fn on_device(mut self, device_id: impl Into<CompactString>) -> Self {
        self.device_id = Some(device_id.into());
        self
    }

    /// The same, naming the node, unless one is named already.
    pub fn on_node(mut self, node: impl Into<CompactString>) -> Self {
        self.node.get_or_insert_with(|| node.into());
        self
    }

    /// The same, with advice on when to call again.
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// Whether the gateway may try the call elsewhere by itself: surely not executed, and others may help.
    pub fn retryable(&self) -> bool {
        self.outcome == Outcome::NotExecuted && self.reason.others_may_help()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_proto_name() {
        for reason in Reason::ALL {
            assert_eq!(format!("REASON_{reason}"), reason.to_proto().as_str_name());
            assert_eq!(Reason::from_proto(reason.to_proto()), reason);
        }
    }

    #[test]
    fn nothing_that_may_have_run_is_retried() {
        for reason in Reason::ALL {
            assert!(!Failure::new(reason, Outcome::Unknown, "").retryable());
            assert!(!Failure::new(reason, Outcome::Executed, "").retryable());
        }
        assert!(Failure::not_executed(Reason::DeviceBusy, "").retryable());
        assert!(!Failure::not_executed(Reason::Deadline, "").retryable());
    }

    #[test]
    fn stages_keep_their_names() {
        for stage in [Stage::Queue, Stage::Forward, Stage::Write, Stage::Device] {
            assert_eq!(Stage::from_name(stage.as_str()), Some(stage));
        }
        assert_eq!(Stage::from_name(""), None);
    }
}
