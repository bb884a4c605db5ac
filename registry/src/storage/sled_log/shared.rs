//! What the handles of a log and its writer share.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::{fault::Fault, window::Window};
use crate::storage::{DataDir, StoredLogId, StoredVote};

pub(super) struct Shared {
    /// Held so that the folder stays locked while anything is written to it.
    pub(super) dir: DataDir,
    pub(super) tree: sled::Tree,
    pub(super) removals: Arc<RwLock<()>>,
    pub(super) window: RwLock<Window>,
    pub(super) vote: RwLock<Option<StoredVote>>,
    pub(super) committed: Mutex<Committed>,
    pub(super) fault: Fault,
}

/// The committed entry: known at once, written with whatever is written next.
#[derive(Debug, Default)]
pub(super) struct Committed {
    noted: Option<StoredLogId>,
    unwritten: bool,
}

impl Committed {
    pub(super) fn read_back(noted: Option<StoredLogId>) -> Self {
        Self { noted, unwritten: false }
    }

    pub(super) fn noted(&self) -> Option<StoredLogId> {
        self.noted
    }

    pub(super) fn note(&mut self, committed: Option<StoredLogId>) {
        self.unwritten |= self.noted != committed;
        self.noted = committed;
    }

    pub(super) fn take_unwritten(&mut self) -> Option<Option<StoredLogId>> {
        std::mem::take(&mut self.unwritten).then_some(self.noted)
    }
}
