//! Many rows at once. A look-up waits for memory twice, for its tags and for its row; these wait for all of theirs together.

use std::{array::from_fn, hint::black_box};

use parking_lot::RwLockReadGuard;

use super::{row::Row, shard::Shard, tables::Tables};
use crate::limits::ROWS_TOGETHER;

/// Rows that are in the cache, or as good as there, and their shards' locks.
pub(super) struct Together<'a> {
    hashes: [u64; ROWS_TOGETHER],
    shards: [Option<RwLockReadGuard<'a, Shard>>; ROWS_TOGETHER],
}

impl Tables {
    /// Fetches the rows of the first [`ROWS_TOGETHER`] devices, given by namespace and id.
    ///
    /// Their shards stay locked for reading, so keep the result no longer than it takes to read them. It cannot block
    /// itself or the writer for good: the writer locks one shard at a time, and a reader is let in beside readers.
    pub(super) fn fetch<'k>(&self, devices: impl Iterator<Item = (&'k str, &'k str)>) -> Together<'_> {
        let mut hashes = devices.map(|(namespace, device)| self.hash_of(namespace, device));
        let asked: [Option<u64>; ROWS_TOGETHER] = from_fn(|_| hashes.next());
        let shards = asked.map(|hash| Some(self.shards[Self::shard_of(hash?)].0.read_recursive()));
        let hashes = asked.map(Option::unwrap_or_default);
        let slots: [Option<u32>; ROWS_TOGETHER] = from_fn(|at| shards[at].as_ref()?.likely_slot(hashes[at]));
        // Nothing here depends on what was read before, so the processor asks for all rows before the first one is there.
        let row = |at: usize| shards[at].as_ref()?.row(slots[at]?);
        black_box((0..ROWS_TOGETHER).filter_map(row).fold(0, |sum: u64, row| sum.wrapping_add(row.epoch.0)));
        Together { hashes, shards }
    }
}

impl Together<'_> {
    /// The row of a device, which was the one at this place when it was asked for.
    pub(super) fn row(&self, at: usize, namespace: &str, device: &str) -> Option<&Row> {
        self.shards[at].as_ref()?.find(self.hashes[at], namespace, device).map(|(_, row)| row)
    }
}
