//! What an agent is doing, as its owner sees it.

use std::time::Duration;

use rollcall_proto::device::CloseCode;

use crate::device::InvalidDevice;

/// What a device's session is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AgentState {
    /// A connection is being opened, or an attach awaits its answer.
    Connecting {
        /// The server.
        server: String,
    },
    /// Calls arrive.
    Attached {
        /// The name of the node that holds the device.
        node: String,
        /// The session's epoch.
        epoch: u64,
    },
    /// A node refused or ended the session; it is tried again.
    Refused {
        /// Why.
        code: CloseCode,
        /// Why, for people.
        message: String,
        /// How long until the next try.
        retry_in: Duration,
    },
    /// No connection; it is tried again.
    Waiting {
        /// Why, for people.
        why: String,
        /// How long until the next try.
        retry_in: Duration,
    },
    /// It is over; nothing is tried any more.
    Stopped(StopReason),
}

/// Why a session is over for good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopReason {
    /// The owner asked for it.
    #[error("shut down")]
    Shutdown,
    /// A node refused it for a reason that trying again does not change.
    #[error("refused as {}: {message}", .code.as_str_name().trim_start_matches("CLOSE_CODE_"))]
    Refused {
        /// Why.
        code: CloseCode,
        /// Why, for people.
        message: String,
    },
    /// What was to be attached cannot be.
    #[error("invalid configuration: {0}")]
    Invalid(#[from] InvalidDevice),
}

impl AgentState {
    /// Whether calls arrive.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        matches!(self, Self::Attached { .. })
    }

    /// Why it is over, if it is.
    #[must_use]
    pub fn stopped(&self) -> Option<&StopReason> {
        match self {
            Self::Stopped(reason) => Some(reason),
            Self::Connecting { .. } | Self::Attached { .. } | Self::Refused { .. } | Self::Waiting { .. } => {
                None
            }
        }
    }
}
