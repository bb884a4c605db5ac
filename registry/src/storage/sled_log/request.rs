//! What the log's writer is asked to do, in one queue, so that the order on disk is the order of the calls.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::window::AppendNumber;
use crate::storage::{Completion, StorageError, StoredEntry, StoredLogId, StoredVote};

/// Tells the caller that waits.
pub(super) type Reply = oneshot::Sender<Result<(), StorageError>>;

/// A write. Each holds a permit, which bounds the queue.
pub(super) struct Request {
    pub(super) write: Write,
    pub(super) _permit: OwnedSemaphorePermit,
}

/// What to write.
pub(super) enum Write {
    /// Adds entries.
    Append { number: AppendNumber, entries: Vec<StoredEntry>, done: Completion },
    /// Replaces the vote.
    Vote { vote: StoredVote, done: Reply },
    /// Removes all entries after this one.
    TruncateAfter { last: Option<StoredLogId>, done: Reply },
    /// Removes all entries up to this one.
    Purge { upto: StoredLogId },
    /// Writes what is noted and ends the writer.
    Close { done: Reply },
}

impl Write {
    /// How many bytes of entries it brings.
    pub(super) fn entry_bytes(&self) -> usize {
        match self {
            Self::Append { entries, .. } => entries.iter().map(|entry| entry.bytes.len()).sum(),
            Self::Vote { .. } | Self::TruncateAfter { .. } | Self::Purge { .. } | Self::Close { .. } => 0,
        }
    }
}
