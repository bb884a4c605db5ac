//! A shard of the rows: a slab of chunks, and an index that finds a device's slot.
//!
//! Chunks are shared with snapshots and listings, which only clone pointers; the first change of a chunk that is still
//! shared copies it.

use std::sync::Arc;

use super::{cohort::Cohort, row::Row, slot_index::SlotIndex};
use crate::limits::ROW_CHUNK;

/// Rows that are copied together.
pub(crate) type Chunk = [Option<Row>; ROW_CHUNK];

/// A row's place: the slot in its shard, and the shard in the low 8 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RowNumber(u32);

impl RowNumber {
    pub(super) fn new(shard: usize, slot: u32) -> Self {
        Self((slot << 8) | (shard as u32 & 0xff))
    }

    pub(super) fn shard(self) -> usize {
        (self.0 & 0xff) as usize
    }

    pub(super) fn slot(self) -> u32 {
        self.0 >> 8
    }
}

/// A shard of the rows.
#[derive(Debug, Default)]
pub(super) struct Shard {
    slots: SlotIndex,
    chunks: Vec<Arc<Chunk>>,
    rows: u32,
}

impl Shard {
    /// A device's row and its slot.
    pub(super) fn find(&self, hash: u64, namespace: &str, device: &str) -> Option<(u32, &Row)> {
        let is_it = |slot| self.row(slot).is_some_and(|row| row.is_of(namespace, device));
        let slot = self.slots.find(hash, is_it)?;
        self.row(slot).map(|row| (slot, row))
    }

    /// The row in a slot.
    pub(super) fn row(&self, slot: u32) -> Option<&Row> {
        row_in(&self.chunks, slot)
    }

    /// Adds a device that is not there yet; returns its slot.
    pub(super) fn insert(&mut self, hash: u64, row: Row, hash_of: impl Fn(&Row) -> u64) -> u32 {
        let slot = self.rows;
        self.rows += 1;
        if slot as usize / ROW_CHUNK == self.chunks.len() {
            self.chunks.push(Arc::new([const { None }; ROW_CHUNK]));
        }
        self.replace(slot, row);
        let (chunks, slots) = (&self.chunks, &mut self.slots);
        slots.insert(hash, slot, |slot| row_in(chunks, slot).map_or(0, &hash_of));
        slot
    }

    /// Puts a row into a slot that is in use.
    pub(super) fn replace(&mut self, slot: u32, row: Row) {
        let slot = slot as usize;
        if let Some(chunk) = self.chunks.get_mut(slot / ROW_CHUNK) {
            Arc::make_mut(chunk)[slot % ROW_CHUNK] = Some(row);
        }
    }

    /// Removes the row of a slot that is in use. The last row takes its place, so that slots in use have no gaps and memory
    /// follows their number; returns that row's former slot, and its cohort.
    pub(super) fn remove(
        &mut self,
        hash: u64,
        slot: u32,
        hash_of: impl Fn(&Row) -> u64,
    ) -> Option<(u32, Arc<Cohort>)> {
        let (chunks, slots) = (&self.chunks, &mut self.slots);
        slots.remove(hash, slot, |slot| row_in(chunks, slot).map_or(0, &hash_of));
        let last = self.rows.checked_sub(1)?;
        self.rows = last;
        let taken = self.take(last)?;
        let moved = (slot != last).then(|| {
            self.slots.moved(hash_of(&taken), last, slot);
            let cohort = Arc::clone(&taken.cohort);
            self.replace(slot, taken);
            (last, cohort)
        });
        self.chunks.truncate((last as usize).div_ceil(ROW_CHUNK));
        if self.chunks.capacity() > 8 && self.chunks.len() * 4 < self.chunks.capacity() {
            self.chunks.shrink_to(self.chunks.len() * 2);
        }
        let chunks = &self.chunks;
        self.slots.shrink(|slot| row_in(chunks, slot).map_or(0, &hash_of));
        moved
    }

    fn take(&mut self, slot: u32) -> Option<Row> {
        let slot = slot as usize;
        Arc::make_mut(self.chunks.get_mut(slot / ROW_CHUNK)?)[slot % ROW_CHUNK].take()
    }

    /// Whether the slots in use have no gaps, each row is found, and there is no more room than they need.
    pub(super) fn is_dense(&self, hash_of: impl Fn(&Row) -> u64) -> bool {
        let is_found = |slot| {
            let row = self.row(slot);
            row.is_some_and(|row| self.slots.find(hash_of(row), |found| found == slot).is_some())
        };
        (0..self.rows).all(is_found)
            && self.chunks.iter().flat_map(|chunk| chunk.iter().flatten()).count() == self.rows as usize
            && self.chunks.len() == (self.rows as usize).div_ceil(ROW_CHUNK)
            && self.slots.is_fit(self.rows as usize)
    }

    /// The rows as they are now; later changes do not show.
    pub(super) fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }
}

fn row_in(chunks: &[Arc<Chunk>], slot: u32) -> Option<&Row> {
    let slot = slot as usize;
    chunks.get(slot / ROW_CHUNK)?[slot % ROW_CHUNK].as_ref()
}
