//! Why a node must stop, told once.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::watch;

/// Why this node cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FatalReason {
    /// The storage failed: nothing more can be acknowledged.
    #[error("the storage failed: {0}")]
    Storage(String),
    /// Consensus stopped.
    #[error("consensus stopped: {0}")]
    Consensus(String),
    /// An operator removed this node.
    #[error(
        "{name} (node {node}) was removed from its cluster. Its data folder is marked: the next start puts the old data \
         aside and joins as a new node"
    )]
    Removed {
        /// Its name.
        name: String,
        /// The id that it had.
        node: u64,
    },
    /// The cluster does not take this node.
    #[error("the cluster refuses this node: {0}")]
    Refused(String),
}

/// Tells why the node must stop; the first reason stays.
#[derive(Debug, Clone)]
pub(crate) struct FatalSender(Arc<watch::Sender<Option<FatalReason>>>);

impl FatalSender {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::channel(None).0))
    }

    /// Says that the node must stop.
    pub(crate) fn stop(&self, reason: FatalReason) {
        self.0.send_if_modified(|told| {
            let first = told.is_none();
            told.get_or_insert(reason);
            first
        });
    }

    /// Resolves when the node must stop.
    pub(crate) async fn stopped(&self) -> FatalReason {
        let mut told = self.0.subscribe();
        loop {
            if let Some(reason) = told.borrow_and_update().clone() {
                return reason;
            }
            // The sender lives in `self`, so this ends only with a change.
            let _ = told.changed().await;
        }
    }
}
