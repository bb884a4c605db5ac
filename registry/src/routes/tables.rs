//! The tables of a replica. Readers lock one shard for the length of a look-up; writing is the [`super::writer`]'s.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
#[cfg(not(feature = "simulation"))]
use hashbrown::DefaultHashBuilder as RowHasher;
use parking_lot::{Mutex, MutexGuard, RwLock};

#[cfg(feature = "simulation")]
use crate::simulation::RowHasher;

use super::{
    group_index::GroupIndex,
    life::Life,
    roster::Roster,
    row::Row,
    shard::{Chunk, RowNumber, Shard},
};
use crate::{limits::ROW_SHARDS, model::ids::LogIndex};

/// A shard on its own cache lines: readers of neighbours do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Alone(pub(super) RwLock<Shard>);

/// All rows and nodes as one entry left them.
pub(super) struct Moment {
    /// That entry.
    pub(super) index: LogIndex,
    /// The rows, in no order.
    pub(super) chunks: Vec<Arc<Chunk>>,
    roster: Arc<Roster>,
}

impl Moment {
    /// Whether sessions of this life counted then; the life itself may have ended since.
    pub(super) fn counts(&self, life: &Life) -> bool {
        let node = self.roster.nodes.get(&life.node);
        node.is_some_and(|node| node.view.up && node.view.incarnation == life.incarnation)
    }
}

/// The tables of a replica.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(super) shards: Box<[Alone]>,
    /// Seeded anew in each process, so that nobody can choose ids that collide. Nothing replicated depends on it.
    hasher: RowHasher,
    pub(super) groups: RwLock<GroupIndex>,
    pub(super) roster: ArcSwap<Roster>,
    pub(super) devices: AtomicU64,
    applied: AtomicU64,
    moves: AtomicU64,
    /// Held while an entry is applied, and while somebody takes a look at one moment.
    entry: Mutex<()>,
}

impl Tables {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..ROW_SHARDS).map(|_| Alone::default()).collect(),
            hasher: RowHasher::default(),
            groups: RwLock::default(),
            roster: ArcSwap::default(),
            devices: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            moves: AtomicU64::new(0),
            entry: Mutex::new(()),
        }
    }

    /// An entry begins to be applied; it ends when the guard is dropped.
    pub(crate) fn begin_entry(&self) -> MutexGuard<'_, ()> {
        self.entry.lock()
    }

    /// Rows and nodes between two entries: waits for the end of one, and holds up the next.
    pub(super) fn one_moment(&self) -> Moment {
        let _between = self.entry.lock();
        Moment { index: self.applied(), chunks: self.chunks(), roster: self.roster.load_full() }
    }

    /// The entry whose effects all readers see.
    pub(crate) fn applied(&self) -> LogIndex {
        LogIndex(self.applied.load(Ordering::Acquire))
    }

    /// Publishes that all rows of the entries up to this one are in place.
    pub(crate) fn publish_applied(&self, index: LogIndex) {
        self.applied.store(index.0, Ordering::Release);
    }

    /// Rises when rows have got other numbers: those that were read before may name other rows now.
    pub(crate) fn moves(&self) -> u64 {
        self.moves.load(Ordering::Acquire)
    }

    /// Rows have got other numbers. Called under their shard's lock.
    pub(super) fn note_moves(&self) {
        self.moves.fetch_add(1, Ordering::Release);
    }

    /// Publishes the cluster and its nodes.
    pub(crate) fn publish_roster(&self, roster: Roster) {
        self.roster.store(Arc::new(roster));
    }

    pub(super) fn hash_of(&self, namespace: &str, device: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        namespace.hash(&mut hasher);
        device.hash(&mut hasher);
        hasher.finish()
    }

    pub(super) fn hash_of_row(&self, row: &Row) -> u64 {
        self.hash_of(&row.cohort.namespace, &row.device)
    }

    /// The shard of a hash. Its table takes the lowest 32 bits and the highest eight, so these come from between.
    pub(super) fn shard_of(hash: u64) -> usize {
        (hash >> 32) as usize % ROW_SHARDS
    }

    /// Reads a device's row under its shard's lock.
    pub(crate) fn read<T>(&self, namespace: &str, device: &str, read: impl FnOnce(&Row) -> T) -> Option<T> {
        let hash = self.hash_of(namespace, device);
        let shard = self.shards[Self::shard_of(hash)].0.read();
        shard.find(hash, namespace, device).map(|(_, row)| read(row))
    }

    /// Reads a row by its number under its shard's lock.
    pub(crate) fn read_number<T>(&self, number: RowNumber, read: impl FnOnce(&Row) -> T) -> Option<T> {
        self.shards[number.shard()].0.read().row(number.slot()).map(read)
    }

    /// Whether each shard finds its rows, and takes no more room than they need. Reads every row.
    pub(crate) fn are_dense(&self) -> bool {
        self.shards.iter().all(|shard| shard.0.read().is_dense(|row| self.hash_of_row(row)))
    }

    /// All rows, in no order. Each shard is locked while its pointers are cloned; without a writer between the
    /// locks this is the state of one moment.
    pub(crate) fn chunks(&self) -> Vec<Arc<Chunk>> {
        let rows = self.devices.load(Ordering::Relaxed) as usize;
        let mut chunks = Vec::with_capacity(rows / crate::limits::ROW_CHUNK + ROW_SHARDS);
        for shard in &self.shards {
            chunks.extend_from_slice(shard.0.read().chunks());
        }
        chunks
    }
}
