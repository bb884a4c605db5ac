//! Up to where the log is to be given up: a snapshot stands for it.
//!
//! openraft keeps what a follower is being sent, however slowly it takes it. So that one slow follower does not keep the leader's
//! log for ever, the network ends a stream of entries that is behind this: openraft then gives the log up, and sends the snapshot.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// An index that only rises; cheap to clone, all clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct PurgeFloor(Arc<AtomicU64>);

impl PurgeFloor {
    /// Entries up to this one are to go.
    pub(super) fn raise(&self, index: u64) {
        self.0.fetch_max(index, Ordering::AcqRel);
    }

    /// Whether who has the log up to here needs entries that are to go.
    pub(super) fn is_above(&self, index: u64) -> bool {
        index < self.0.load(Ordering::Acquire)
    }
}
