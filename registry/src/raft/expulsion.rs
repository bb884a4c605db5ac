//! How a node learns that it was removed, and what it then does: marks its folder, and stops.

use std::sync::Arc;

use tonic::Status;
use tonic_types::StatusExt;

use super::identity::REMOVED;
use crate::{
    fatal::{FatalReason, FatalSender},
    membership::folder::Folder,
};

/// Looks out for the node's own removal: cheap, cloneable.
#[derive(Clone)]
pub(crate) struct Expulsion {
    pub(crate) folder: Arc<Folder>,
    pub(crate) fatal: FatalSender,
}

impl Expulsion {
    /// Looks at a peer's refusal. A peer says so only after it has applied the removal, so one is enough.
    pub(super) fn look_at(&self, status: &Status) {
        if status.get_error_details().error_info().is_some_and(|info| info.reason == REMOVED) {
            self.noticed();
        }
    }

    /// This node was removed from its cluster.
    pub(crate) fn noticed(&self) {
        if self.folder.is_removed() {
            return;
        }
        let node = self.folder.seat().map_or(0, |seat| seat.node.0);
        if let Err(error) = self.folder.mark_removed() {
            tracing::error!(%error, "the data folder could not be marked as removed");
        }
        self.fatal.stop(FatalReason::Removed { name: self.folder.name().to_owned(), node });
    }
}
