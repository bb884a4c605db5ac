//! What a call's way has shown so far.

use rollcall_registry::model::ids::{Epoch, LogIndex};

use crate::metrics::Path;

/// What a call's way has shown so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trip {
    /// How many times it was routed.
    pub(crate) attempts: u32,
    /// The registry index of the last route.
    pub(crate) index: LogIndex,
    /// The session that it led to; 0: the holder picked.
    pub(crate) epoch: Epoch,
    /// The way of the last route.
    pub(crate) path: Path,
}

impl Trip {
    pub(crate) fn new() -> Self {
        Self { attempts: 0, index: LogIndex(0), epoch: Epoch(0), path: Path::Local }
    }

    /// One more route, by this index.
    pub(crate) fn routed(&mut self, index: LogIndex) {
        self.attempts += 1;
        self.index = index;
    }
}
