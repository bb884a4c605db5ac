//! An execution as the device saw it.

use std::time::Duration;

/// A handler that started. Times count from the beginning of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// The device.
    pub device_id: String,
    /// The agent process, by a number of its own: a device may have two, and neither knows what the other ran.
    pub process: u64,
    /// The call's name.
    pub request_id: String,
    /// The epoch that the call came under.
    pub epoch: u64,
    /// When the handler started.
    pub started_at: Duration,
    /// When it ended. Absent: it runs, or was dropped.
    pub ended_at: Option<Duration>,
}
