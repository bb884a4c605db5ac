//! What of the log is not yet on disk, so that it is readable at once; and where the log begins and ends.

use std::collections::VecDeque;

use crate::storage::{LogState, StorageError, StoredEntry, StoredLogId, volume::LogVolume};

/// Holds only unsynced entries: bounded by the appends in flight.
#[derive(Debug)]
pub(super) struct Window {
    state: LogState,
    /// Where the log begins if nothing was purged.
    first: u64,
    unsynced: VecDeque<(AppendNumber, StoredEntry)>,
    last_append: AppendNumber,
    truncations: u64,
    volume: LogVolume,
}

/// The order of appends in one run of the process. Indexes cannot stand for it: a truncation lets them be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AppendNumber(u64);

impl Window {
    pub(super) fn new(state: LogState, first: u64, volume: LogVolume) -> Self {
        let unsynced = VecDeque::new();
        Self { state, first, unsynced, last_append: AppendNumber(0), truncations: 0, volume }
    }

    /// How many bytes the entries take.
    pub(super) fn volume(&self) -> &LogVolume {
        &self.volume
    }

    pub(super) fn state(&self) -> LogState {
        self.state
    }

    /// The index of the first entry that there is, or would be.
    pub(super) fn first_index(&self) -> u64 {
        self.state.purged.map_or(self.first, |purged| purged.index + 1)
    }

    /// Rises when entries that were readable may be others now.
    pub(super) fn truncations(&self) -> u64 {
        self.truncations
    }

    /// Takes entries in, which must follow the last.
    pub(super) fn append(&mut self, entries: &[StoredEntry]) -> Result<AppendNumber, StorageError> {
        let first = entries.first().map_or(0, |entry| entry.log_id.index);
        let next = self.state.last.map_or(first, |last| last.index + 1);
        for (entry, expected) in entries.iter().zip(next..) {
            if entry.log_id.index != expected {
                return Err(StorageError::OutOfOrder { expected, found: entry.log_id.index });
            }
        }
        if self.state.last.is_none() {
            self.first = first;
        }
        self.last_append.0 += 1;
        self.state.last = entries.last().map(|entry| entry.log_id).or(self.state.last);
        entries.iter().for_each(|entry| self.volume.push(entry.log_id.index, entry.bytes.len()));
        self.unsynced.extend(entries.iter().map(|entry| (self.last_append, entry.clone())));
        Ok(self.last_append)
    }

    /// The entries of this append are on disk, and of all before it.
    pub(super) fn synced(&mut self, upto: AppendNumber) {
        while self.unsynced.front().is_some_and(|(append, _)| *append <= upto) {
            self.unsynced.pop_front();
        }
        if self.unsynced.is_empty() && self.unsynced.capacity() > crate::limits::LOG_FLUSH_BYTES / 1024 {
            self.unsynced = VecDeque::new();
        }
    }

    /// Forgets all entries after this one. Whether there were any.
    pub(super) fn truncate_after(&mut self, last: Option<StoredLogId>) -> bool {
        let next = last.map_or(0, |last| last.index + 1).max(self.state.first_index());
        if next >= self.state.next_index() {
            return false;
        }
        while self.unsynced.back().is_some_and(|(_, entry)| entry.log_id.index >= next) {
            self.unsynced.pop_back();
        }
        self.state.last = last.max(self.state.purged);
        self.truncations += 1;
        self.volume.truncate_from(next);
        true
    }

    /// Forgets all entries up to this one. Whether it is further than before.
    pub(super) fn purge(&mut self, upto: StoredLogId) -> bool {
        if upto.index < self.state.first_index() {
            return false;
        }
        while self.unsynced.front().is_some_and(|(_, entry)| entry.log_id.index <= upto.index) {
            self.unsynced.pop_front();
        }
        self.volume.purge(upto.index);
        self.state.purged = Some(upto);
        if self.state.last.is_none_or(|last| last.index <= upto.index) {
            self.state.last = Some(upto);
        }
        true
    }

    /// The first index that is not on disk.
    pub(super) fn first_unsynced(&self) -> u64 {
        self.unsynced.front().map_or(self.state.next_index(), |(_, entry)| entry.log_id.index)
    }

    /// The unsynced entries of these indexes.
    pub(super) fn unsynced(&self, start: u64, end: u64) -> impl Iterator<Item = &StoredEntry> {
        let first = self.first_unsynced();
        let position = |index: u64| (index.saturating_sub(first) as usize).min(self.unsynced.len());
        self.unsynced.range(position(start)..position(end.max(start))).map(|(_, entry)| entry)
    }
}
