//! A broadcast as it enters the router, and what comes of it. They know nothing of the transport they came by.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use compact_str::CompactString;
use rollcall_registry::model::ids::LogIndex;
use tokio::{sync::mpsc, time::Instant};

use crate::{
    call::Reply,
    outcome::{Failure, Outcome, Reason},
};

/// The same call to many devices.
#[derive(Debug, Clone)]
pub struct Broadcast {
    /// The namespace of group and devices. Empty: `default`.
    pub namespace: CompactString,
    /// Whose devices are called. Empty: all that carry the labels.
    pub group: CompactString,
    /// What the devices are asked to do.
    pub action: CompactString,
    /// Handed to each device untouched.
    pub payload: Bytes,
    /// The media type of the payload.
    pub content_type: CompactString,
    /// Handed to each device untouched.
    pub metadata: HashMap<String, String>,
    /// Labels that a device must carry, all of them.
    pub labels: Vec<(CompactString, CompactString)>,
    /// The request id of each device's call; never empty.
    pub request_id: CompactString,
    /// Each device's call may be executed more than once under its request id.
    pub idempotent: bool,
    /// How long each device's call may take from when it is sent.
    pub device_timeout: Duration,
    /// Calls that are sent in a second, at most; at least 1.
    pub rate_per_second: u32,
    /// Calls in flight at once, at most; at least 1.
    pub in_flight: u32,
    /// Take the devices from a registry that is at least this new.
    pub min_index: LogIndex,
    /// When it came to this node.
    pub arrived: Instant,
    /// When all of it must have ended.
    pub deadline: Instant,
}

/// A broadcast that has begun.
#[derive(Debug)]
pub struct Started {
    /// The devices that it goes to.
    pub targets: u32,
    /// The registry index at which they were taken.
    pub index: LogIndex,
    /// A result for each of them in any order, then the summary. Not reading stops the sending; dropping it cancels.
    pub events: mpsc::Receiver<BroadcastEvent>,
}

/// What happened to a broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BroadcastEvent {
    /// How one device's call ended.
    Result {
        /// The device.
        device_id: CompactString,
        /// How it ended.
        result: Result<Reply, Failure>,
    },
    /// How all of them ended. Nothing follows.
    Summary(Summary),
}

/// How a broadcast ended. The four counts of devices add up to `targets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The devices that it went to.
    pub targets: u64,
    /// Those that answered.
    pub answered: u64,
    /// Those that did not, by what is known of the execution, in the order of [`Outcome::ALL`].
    pub failed: [u64; Outcome::ALL.len()],
    /// Why they did not.
    pub reasons: Vec<(Reason, u64)>,
    /// From its arrival until its end.
    pub total: Duration,
}
