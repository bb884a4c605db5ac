//! What a node's own replica said of a device.

use std::time::Duration;

/// A local read of one node. Times count from the beginning of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaSight {
    /// The node that was asked.
    pub by: String,
    /// The device.
    pub device_id: String,
    /// When it was asked for.
    pub from: Duration,
    /// When the answer was there.
    pub to: Duration,
    /// The epoch of the device's session there, if it has one.
    pub epoch: Option<u64>,
}
