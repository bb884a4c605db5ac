//! Who held a device, as somebody saw it.

use std::time::Duration;

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// The device was told that its session of this epoch is open.
    Opened(u64),
    /// An open whose answer never came: it may have happened at any time since, or never.
    MaybeOpened,
    /// A linearizable read gave this epoch, or that nobody holds the device.
    Read(Option<u64>),
}

/// One sight of one device, true of some moment between `from` and `to`. Times count from the beginning of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnershipRecord {
    /// The device.
    pub device_id: String,
    /// When it was asked for.
    pub from: Duration,
    /// When the answer was there.
    pub to: Duration,
    /// What was seen.
    pub sight: Sight,
}
