//! Why a node cannot start, for people.

use thiserror::Error;

use crate::storage::StorageError;

/// Why a node cannot start. The texts say what to do.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data folder.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A snapshot that cannot be read.
    #[error("the newest snapshot cannot be read: {0}")]
    Snapshot(std::io::Error),
    /// A setting.
    #[error("{0}")]
    Config(String),
    /// The cluster does not take this node, or this node does not take it.
    #[error("{0}")]
    Refused(String),
    /// Raft.
    #[error("consensus does not start: {0}")]
    Consensus(String),
}
