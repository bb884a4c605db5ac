//! The log store as its users see it. Durable: [`super::SledLog`]. For simulation: [`super::MemoryLog`].

use std::{future::Future, ops::Range};

use super::{
    error::StorageError,
    stored::{LogState, StoredEntry, StoredLogId, StoredVote},
};

/// Called once, from any thread, when an append is on disk or will never be. Must not block.
pub type Completion = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

/// An ordered log of entries, and the vote that belongs to it.
///
/// All writes take effect in the order of the calls. One caller writes; any number read. The first fault poisons the
/// store: everything that waits and everything later gets an error, and nothing is acknowledged any more.
pub trait LogBackend: Clone + Send + Sync + 'static {
    /// Which part of the log there is, including entries that are not yet on disk.
    fn state(&self) -> LogState;

    /// The last saved vote.
    fn vote(&self) -> Option<StoredVote>;

    /// The last known committed entry, as far as it was noted.
    fn committed(&self) -> Option<StoredLogId>;

    /// The first entries of the range, in order and without holes, until the next one would exceed `max_bytes`; at least
    /// one if there is one.
    ///
    /// Entries are absent only where the log does not have them: purged ones at the beginning, future ones at the end.
    ///
    /// # Errors
    /// If the store is poisoned, or an entry is missing or damaged (which poisons it).
    ///
    /// # Cancel safety
    /// Safe.
    fn read(
        &self,
        range: Range<u64>,
        max_bytes: usize,
    ) -> impl Future<Output = Result<Vec<StoredEntry>, StorageError>> + Send;

    /// Adds entries, which must follow the last one; an empty log of which nothing was purged may begin anywhere. They are readable when this returns and on disk when `done` is
    /// called. Waits for one of [`crate::limits::LOG_APPENDS_IN_FLIGHT`] permits.
    ///
    /// # Errors
    /// If the store is poisoned or the entries are refused; `done` is then dropped without being called.
    ///
    /// # Cancel safety
    /// Safe: either nothing happened, or all did.
    fn append(
        &self,
        entries: Vec<StoredEntry>,
        done: Completion,
    ) -> impl Future<Output = Result<(), StorageError>> + Send;

    /// Saves the vote; it is on disk when this returns.
    ///
    /// # Errors
    /// If the store is poisoned.
    ///
    /// # Cancel safety
    /// Dropped while waiting, the vote may or may not be saved.
    fn save_vote(&self, vote: StoredVote) -> impl Future<Output = Result<(), StorageError>> + Send;

    /// Notes the committed entry. It reaches the disk with a later write, or after a second.
    ///
    /// # Errors
    /// If the store is poisoned.
    fn save_committed(&self, committed: Option<StoredLogId>) -> Result<(), StorageError>;

    /// Removes all entries after this one (`None`: all); that is on disk when this returns.
    ///
    /// # Errors
    /// If the store is poisoned.
    ///
    /// # Cancel safety
    /// Dropped while waiting, the entries are gone from reads, and may or may not be on disk.
    fn truncate_after(
        &self,
        last: Option<StoredLogId>,
    ) -> impl Future<Output = Result<(), StorageError>> + Send;

    /// Removes all entries up to and including this one, which may lie beyond the last. Not waited for on disk.
    ///
    /// # Errors
    /// If the store is poisoned.
    ///
    /// # Cancel safety
    /// Safe.
    fn purge(&self, upto: StoredLogId) -> impl Future<Output = Result<(), StorageError>> + Send;

    /// Resolves when the store is poisoned: the process must stop.
    fn poisoned(&self) -> impl Future<Output = StorageError> + Send;
}
