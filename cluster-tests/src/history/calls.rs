//! A call as its caller saw it.

use std::time::Duration;

use tonic::{Code, Status};

use crate::refusal;

/// What a failure says of the execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Known {
    /// The handler never started.
    NotExecuted,
    /// Nobody knows; also what a broken connection says.
    Unknown,
    /// The handler ran.
    Executed,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// With the device's answer.
    Answered {
        /// The device that answered.
        device_id: String,
        /// The node that held it.
        node: String,
        /// The epoch that it was called under.
        epoch: u64,
    },
    /// With a typed failure.
    Refused {
        /// The status code.
        code: Code,
        /// Why.
        reason: String,
        /// What is known of the execution.
        known: Known,
    },
    /// Without a word of the gateway's: the connection broke, or the caller stopped waiting.
    Lost {
        /// What the caller's library says.
        why: String,
    },
}

impl Ending {
    /// Reads how a call failed. A failure without the gateway's own word is [`Ending::Lost`].
    pub fn of_failure(status: Status) -> Self {
        let why = format!("{:?}: {}", status.code(), status.message());
        match refusal::<()>(Err(status)) {
            Ok(refused) => Self::Refused {
                code: refused.code,
                reason: refused.reason,
                known: match refused.outcome.as_str() {
                    "NOT_EXECUTED" => Known::NotExecuted,
                    "EXECUTED" => Known::Executed,
                    _ => Known::Unknown,
                },
            },
            Err(_) => Self::Lost { why },
        }
    }

    /// What is known of the execution.
    pub fn known(&self) -> Known {
        match self {
            Self::Answered { .. } => Known::Executed,
            Self::Refused { known, .. } => *known,
            Self::Lost { .. } => Known::Unknown,
        }
    }

    /// Whether the device's answer arrived.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Answered { .. })
    }

    /// The reason of a refusal.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused { reason, .. } => Some(reason),
            Self::Answered { .. } | Self::Lost { .. } => None,
        }
    }
}

/// A call, from its sending to its end. Times count from the beginning of the run.
#[derive(Debug, Clone)]
pub struct CallRecord {
    /// Its name; the device's handler sees it too.
    pub request_id: String,
    /// The device that it names; empty if it names a group alone.
    pub device_id: String,
    /// The node that it entered through.
    pub through: String,
    /// Whether the gateway may send it again.
    pub idempotent: bool,
    /// When it was sent.
    pub sent_at: Duration,
    /// When and how it ended. Absent: its caller still waits.
    pub ended: Option<(Duration, Ending)>,
}

impl CallRecord {
    /// How long it took.
    pub fn took(&self) -> Option<Duration> {
        self.ended.as_ref().map(|(at, _)| at.saturating_sub(self.sent_at))
    }

    /// Whether its handler answers at once, so that its time is the gateway's alone. Its name says so.
    pub fn is_quick(&self) -> bool {
        self.request_id.starts_with("quick-")
    }

    /// How it ended.
    pub fn ending(&self) -> Option<&Ending> {
        self.ended.as_ref().map(|(_, ending)| ending)
    }
}
