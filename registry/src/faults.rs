//! Faults that tests ask for: what is to break, and which protections are to be off. All switches of the workspace.
//!
//! They exist only with the feature `fault-injection`. Without it every question is answered no when it is compiled, and
//! nothing of this is in the program.

#[cfg(feature = "fault-injection")]
mod switches;

use std::{io, thread, time::Duration};

/// How long a slow disk takes to make a write durable.
const SLOW_SYNC: Duration = Duration::from_millis(500);
/// How often whoever is held looks whether it still is.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Something that a test can switch on in a running node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// The log's file takes 500 ms to become durable.
    SyncsSlow,
    /// The log's file does not become durable while this is on.
    SyncsStuck,
    /// Making the log's file durable fails with `EIO`.
    SyncsFail,
    /// No Raft message, beat or proposal enters or leaves; links between nodes work.
    RaftCut,
    /// Opens and closes of this node are not proposed while this is on.
    BatchesHeld,
    /// A protection off: a forwarded call goes to whichever session its device has by now.
    EpochUnchecked,
    /// A protection off: a close ends whichever session there is.
    ClosesUnconditional,
    /// A protection off: an idempotent call runs as often as it comes.
    Repeats,
    /// A protection off: the log is acknowledged before it is durable.
    SyncsSkipped,
    /// A protection off: a lease, once granted, is believed in for ever.
    LeaseUnwatched,
    /// A protection off: what perhaps ran is sent again, idempotent or not.
    UnknownRetried,
    /// A protection off: a call whose caller left stays counted.
    PendingLeaked,
}

impl Switch {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::SyncsSlow,
        Self::SyncsStuck,
        Self::SyncsFail,
        Self::RaftCut,
        Self::BatchesHeld,
        Self::EpochUnchecked,
        Self::ClosesUnconditional,
        Self::Repeats,
        Self::SyncsSkipped,
        Self::LeaseUnwatched,
        Self::UnknownRetried,
        Self::PendingLeaked,
    ];

    /// Its name in the file that switches it on.
    pub const fn word(self) -> &'static str {
        match self {
            Self::SyncsSlow => "syncs-slow",
            Self::SyncsStuck => "syncs-stuck",
            Self::SyncsFail => "syncs-fail",
            Self::RaftCut => "raft-cut",
            Self::BatchesHeld => "batches-held",
            Self::EpochUnchecked => "epoch-unchecked",
            Self::ClosesUnconditional => "closes-unconditional",
            Self::Repeats => "repeats",
            Self::SyncsSkipped => "syncs-skipped",
            Self::LeaseUnwatched => "lease-unwatched",
            Self::UnknownRetried => "unknown-retried",
            Self::PendingLeaked => "pending-leaked",
        }
    }

    /// Whether it takes a protection away, rather than break something that the node is protected from.
    pub const fn is_protection_off(self) -> bool {
        match self {
            Self::SyncsSlow | Self::SyncsStuck | Self::SyncsFail | Self::RaftCut | Self::BatchesHeld => false,
            Self::EpochUnchecked
            | Self::ClosesUnconditional
            | Self::Repeats
            | Self::SyncsSkipped
            | Self::LeaseUnwatched
            | Self::UnknownRetried
            | Self::PendingLeaked => true,
        }
    }
}

/// The variable that names the file with the words of the switches that are on, apart by white space. The node reads it
/// many times a second, and writes what it has understood beside it, to the same name with `.seen`.
pub const FILE_VARIABLE: &str = "FAULT_INJECTION_FILE";

/// Whether a switch is on.
#[cfg(feature = "fault-injection")]
pub fn is_on(switch: Switch) -> bool {
    switches::current() & (1 << switch as u32) != 0
}

/// Whether a switch is on: never, in this program.
#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub const fn is_on(_: Switch) -> bool {
    false
}

/// Waits until a switch is off.
#[cfg(feature = "fault-injection")]
pub(crate) async fn released(switch: Switch) {
    while is_on(switch) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What stands before making the log's file durable. Blocks.
pub(crate) fn before_sync() -> io::Result<()> {
    if is_on(Switch::SyncsSlow) {
        thread::sleep(SLOW_SYNC);
    }
    while is_on(Switch::SyncsStuck) {
        thread::sleep(LOOK_EVERY);
    }
    if is_on(Switch::SyncsFail) {
        return Err(rustix::io::Errno::IO.into());
    }
    Ok(())
}
