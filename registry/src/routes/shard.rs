//! A shard of the rows: a table of open addressing, whose rows lie in chunks.
//!
//! Chunks are shared with snapshots and listings, which only clone pointers; the first change of a chunk that is still
//! shared copies it.

use std::sync::Arc;

use super::{
    cohort::Cohort,
    row::Row,
    tags::{Tags, slots_in},
};
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

/// A row that went to another slot of its shard.
pub(super) struct Move {
    pub(super) cohort: Arc<Cohort>,
    pub(super) from: u32,
    pub(super) to: u32,
}

/// A shard of the rows.
#[derive(Debug, Default)]
pub(super) struct Shard {
    tags: Tags,
    chunks: Vec<Arc<Chunk>>,
    rows: usize,
}

impl Shard {
    /// A device's row and its slot.
    pub(super) fn find(&self, hash: u64, namespace: &str, device: &str) -> Option<(u32, &Row)> {
        let is_it = |slot| self.row(slot).is_some_and(|row| row.is_of(namespace, device));
        let slot = self.tags.find(hash, is_it)?;
        self.row(slot).map(|row| (slot, row))
    }

    /// The slot in which a row of this hash is found first, if there is one; it may be another device's.
    pub(super) fn likely_slot(&self, hash: u64) -> Option<u32> {
        self.tags.likely(hash)
    }

    /// The row in a slot.
    pub(super) fn row(&self, slot: u32) -> Option<&Row> {
        row_in(&self.chunks, slot)
    }

    /// Adds a device that is not there yet; returns its slot, and the rows that made room.
    pub(super) fn insert(&mut self, hash: u64, row: Row, hash_of: impl Fn(&Row) -> u64) -> (u32, Vec<Move>) {
        let mut moves = Vec::new();
        if !fits(self.rows + 1, self.chunks.len()) {
            moves = self.resize((self.chunks.len() * 7 / 5).max(self.chunks.len() + 1), &hash_of);
        }
        self.rows += 1;
        (self.place(hash, row), moves)
    }

    /// Puts a row into a slot that is in use.
    pub(super) fn replace(&mut self, slot: u32, row: Row) {
        put(&mut self.chunks, slot, Some(row));
    }

    /// Removes the row of a slot that is in use; returns the rows that moved, one after the other.
    pub(super) fn remove(&mut self, slot: u32, hash_of: impl Fn(&Row) -> u64) -> Vec<Move> {
        let mut moves = Vec::new();
        let hash = |slot| row_in(&self.chunks, slot).map_or(0, &hash_of);
        self.tags.free_slot(slot, hash, |from, to| moves.push((from, to)));
        self.rows -= 1;
        put(&mut self.chunks, slot, None);
        let carried_out = moves.into_iter().filter_map(|(from, to)| {
            let row = put(&mut self.chunks, from, None)?;
            let cohort = Arc::clone(&row.cohort);
            put(&mut self.chunks, to, Some(row));
            Some(Move { cohort, from, to })
        });
        let mut moves: Vec<Move> = carried_out.collect();
        let least = least_chunks(self.rows);
        if self.chunks.len() > 2 * least {
            moves.extend(self.resize(least, &hash_of));
        }
        moves
    }

    /// Moves all rows into so many chunks.
    fn resize(&mut self, chunks: usize, hash_of: impl Fn(&Row) -> u64) -> Vec<Move> {
        let old = std::mem::take(&mut self.chunks);
        self.tags = Tags::free(chunks * ROW_CHUNK);
        self.chunks.reserve_exact(chunks);
        self.chunks.extend((0..chunks).map(|_| Arc::new([const { None }; ROW_CHUNK])));
        let mut moves = Vec::with_capacity(self.rows);
        for (number, chunk) in (0..).zip(old) {
            for (slot, row) in (number * ROW_CHUNK as u32..).zip(rows_of(chunk)) {
                let Some(row) = row else { continue };
                let cohort = Arc::clone(&row.cohort);
                let to = self.place(hash_of(&row), row);
                moves.push(Move { cohort, from: slot, to });
            }
        }
        moves
    }

    /// Puts a row into the first free slot on its way.
    fn place(&mut self, hash: u64, row: Row) -> u32 {
        // There always is one: a table is never filled.
        let slot = self.tags.take(hash).unwrap_or_default();
        put(&mut self.chunks, slot, Some(row));
        slot
    }

    /// Whether each row is found, all are counted, and there is no more room than they need.
    pub(super) fn is_dense(&self, hash_of: impl Fn(&Row) -> u64) -> bool {
        let slots = 0..self.tags.slots() as u32;
        let there: Vec<(u32, &Row)> = slots.filter_map(|slot| Some((slot, self.row(slot)?))).collect();
        let is_found =
            |(slot, row): &(u32, &Row)| self.tags.find(hash_of(row), |found| found == *slot).is_some();
        there.iter().all(is_found)
            && there.len() == self.rows
            && self.chunks.len() <= 2 * least_chunks(self.rows).max(1)
    }

    /// The rows as they are now; later changes do not show.
    pub(super) fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }
}

/// Fifteen sixteenths of the slots: beyond, searches become long.
fn fits(rows: usize, chunks: usize) -> bool {
    rows * 16 <= slots_in(chunks * ROW_CHUNK) * 15
}

/// Into how few chunks rows go, with some room for more.
fn least_chunks(rows: usize) -> usize {
    (rows * 4).div_ceil(ROW_CHUNK * 3)
}

fn row_in(chunks: &[Arc<Chunk>], slot: u32) -> Option<&Row> {
    let slot = slot as usize;
    chunks.get(slot / ROW_CHUNK)?[slot % ROW_CHUNK].as_ref()
}

/// Puts something into a slot, and returns what was there.
fn put(chunks: &mut [Arc<Chunk>], slot: u32, row: Option<Row>) -> Option<Row> {
    let slot = slot as usize;
    let chunk = Arc::make_mut(chunks.get_mut(slot / ROW_CHUNK)?);
    std::mem::replace(&mut chunk[slot % ROW_CHUNK], row)
}

/// The rows of a chunk; copies of them if somebody else still reads it.
fn rows_of(mut chunk: Arc<Chunk>) -> impl Iterator<Item = Option<Row>> {
    (0..ROW_CHUNK).map(move |at| match Arc::get_mut(&mut chunk) {
        Some(chunk) => chunk[at].take(),
        None => chunk[at].clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        ids::{AttachNumber, Epoch, InstanceId, UnixMillis},
        profile::Profile,
        record::Standing,
    };

    fn hash_of(row: &Row) -> u64 {
        row.epoch.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17)
    }

    fn is_found(shard: &Shard, row: &Row) -> bool {
        shard.find(hash_of(row), "default", &row.device).is_some_and(|(_, found)| found.epoch == row.epoch)
    }

    #[test]
    fn no_row_is_lost_as_a_shard_grows_and_shrinks() {
        let profile = Arc::new(Profile::default());
        let cohort = Cohort::new(1, "default".into(), (profile.clone(), profile), None, None);
        let (cohort, standing) = (Arc::new(cohort), Standing::SelfMade { away_since: UnixMillis(0) });
        let row = |number: u64| {
            let session = (Epoch(number), InstanceId(1), AttachNumber(1));
            Row::new(format!("d{number}").into(), session, &standing, Arc::clone(&cohort))
        };
        let mut shard = Shard::default();
        for number in 0..2_000 {
            let new = row(number);
            let (slot, _) = shard.insert(hash_of(&new), new, hash_of);
            assert!(shard.row(slot).is_some_and(|row| row.epoch.0 == number));
            assert!(number % 16 != 0 || shard.is_dense(hash_of), "after {number} came");
        }
        for number in 0..2_000 {
            let old = row(number * 7 % 2_000);
            let (slot, _) = shard.find(hash_of(&old), "default", &old.device).unwrap();
            shard.remove(slot, hash_of);
            assert!(!is_found(&shard, &old));
            assert!(number % 16 != 0 || shard.is_dense(hash_of), "after {number} went");
        }
        assert!(shard.chunks.is_empty());
    }
}
