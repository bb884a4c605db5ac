//! A call as it enters the router, and its reply. They know nothing of the transport they came by.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use compact_str::CompactString;
use rollcall_registry::model::ids::{Epoch, LogIndex};
use tokio::time::Instant;

use crate::sessions::table::GroupQuery;

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// The namespace of group and device. Empty: `default`.
    pub namespace: CompactString,
    /// The group that the device belongs to. Empty: whichever, for a device that is named.
    pub group: CompactString,
    /// What the device is asked to do.
    pub action: CompactString,
    /// The device. `None`: any device of the group.
    pub device_id: Option<CompactString>,
    /// Handed to the device untouched.
    pub payload: Bytes,
    /// The media type of the payload.
    pub content_type: CompactString,
    /// Handed to the device untouched.
    pub metadata: HashMap<String, String>,
    /// Labels that the device must carry, all of them.
    pub labels: Vec<(CompactString, CompactString)>,
    /// Calls with the same key go to the same device of the group while it is there and has room.
    pub affinity_key: Option<String>,
    /// The name of this call; never empty.
    pub request_id: CompactString,
    /// The call may be executed more than once under its request id.
    pub idempotent: bool,
    /// How long to wait for a device to connect, within the deadline. Zero: not at all.
    pub connect_wait: Duration,
    /// Route by a registry that is at least this new.
    pub min_index: LogIndex,
    /// When it came to this node.
    pub arrived: Instant,
    /// When the caller gives up.
    pub deadline: Instant,
}

impl Call {
    /// A call of the default namespace to any device of a group, with an empty payload, due in 30 seconds.
    pub fn new(group: &str, action: &str, request_id: &str) -> Self {
        let arrived = Instant::now();
        Self {
            namespace: CompactString::const_new(rollcall_registry::model::ids::DEFAULT_NAMESPACE),
            group: group.into(),
            action: action.into(),
            device_id: None,
            payload: Bytes::new(),
            content_type: CompactString::default(),
            metadata: HashMap::new(),
            labels: Vec::new(),
            affinity_key: None,
            request_id: request_id.into(),
            idempotent: false,
            connect_wait: Duration::ZERO,
            min_index: LogIndex(0),
            arrived,
            deadline: arrived + Duration::from_secs(30),
        }
    }
}

impl Call {
    /// The labels that the device must carry.
    pub(crate) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// What it asks of any device of its group, with its [`Self::labels`].
    pub(crate) fn query<'a>(&'a self, labels: &'a [(&'a str, &'a str)]) -> GroupQuery<'a> {
        GroupQuery { namespace: &self.namespace, group: &self.group, action: &self.action, labels }
    }
}

/// A device's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// As the device's handler returned it.
    pub payload: Bytes,
    /// The media type of the payload.
    pub content_type: String,
    /// As the device's handler returned it.
    pub metadata: HashMap<String, String>,
    /// The device that answered.
    pub device_id: CompactString,
    /// The epoch of the session that executed the call.
    pub epoch: Epoch,
    /// The name of the node that holds the device.
    pub node: CompactString,
    /// How many times the call was routed. 1: the first route was right.
    pub attempts: u32,
    /// The registry index by which the call was routed.
    pub index: LogIndex,
    /// Where the time went.
    pub timings: Timings,
}

/// Where the time of a call went. Absent parts did not happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Waiting for room on the device, at its holder.
    pub queue: Option<Duration>,
    /// To the holder and back, without what the holder measured itself.
    pub forward: Option<Duration>,
    /// From the choice of the device, once it had room, until the transport took the frame.
    pub write: Option<Duration>,
    /// From when the transport took the frame until the device's answer.
    pub device: Option<Duration>,
    /// From the call's arrival at the first node until its answer.
    pub total: Option<Duration>,
}
