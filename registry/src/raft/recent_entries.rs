//! The last entries as values, so that apply and each replication stream need not decode them again.

use std::collections::VecDeque;

use super::type_config::Entry;
use crate::limits;

/// The tail of the log, up to [`limits::LOG_RECENT_BYTES`] as encoded. What is older is read from the log.
#[derive(Debug, Default)]
pub(super) struct RecentEntries {
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
}

impl RecentEntries {
    /// Takes the entry that follows the last one, and drops the oldest beyond the bound.
    pub(super) fn push(&mut self, entry: Entry, encoded_bytes: usize) {
        self.bytes += encoded_bytes;
        self.entries.push_back((entry, encoded_bytes));
        while self.bytes > limits::LOG_RECENT_BYTES {
            let Some((_, bytes)) = self.entries.pop_front() else { return };
            self.bytes -= bytes;
        }
    }

    /// Drops all from this index on.
    pub(super) fn truncate_from(&mut self, index: u64) {
        while self.entries.back().is_some_and(|(entry, _)| entry.log_id.index >= index) {
            self.bytes -= self.entries.pop_back().map_or(0, |(_, bytes)| bytes);
        }
    }

    /// Drops all up to this index.
    pub(super) fn purge(&mut self, index: u64) {
        while self.entries.front().is_some_and(|(entry, _)| entry.log_id.index <= index) {
            self.bytes -= self.entries.pop_front().map_or(0, |(_, bytes)| bytes);
        }
    }

    /// The entries from `start` to `end`, as many as fit into `max_bytes` but at least one. `None`: `start` is not here.
    pub(super) fn get(&self, start: u64, end: u64, max_bytes: usize) -> Option<Vec<Entry>> {
        let first = self.entries.front()?.0.log_id.index;
        let position = usize::try_from(start.checked_sub(first)?).ok()?;
        if position >= self.entries.len() {
            return None;
        }
        let wanted = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        let mut room = max_bytes;
        let entries =
            self.entries.range(position..).take(wanted).enumerate().map_while(|(taken, (entry, bytes))| {
                let fits = taken == 0 || *bytes <= room;
                room = room.saturating_sub(*bytes);
                fits.then(|| entry.clone())
            });
        Some(entries.collect())
    }
}
