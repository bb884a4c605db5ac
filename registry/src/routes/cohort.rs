//! A cohort: the rows that are alike in everything but the device. What they share is stored once, here.
//!
//! A row costs one pointer for its namespace, profile and holder, and a group is answered from the counts of its
//! cohorts without touching a row.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use compact_str::CompactString;
use hashbrown::HashSet;
use parking_lot::RwLock;

use super::{life::Life, shard::RowNumber};
use crate::model::{profile::Profile, record::Assigned};

/// Rows of one namespace, profile, assignment and holder. All but the members never changes: a row moves to another cohort.
#[derive(Debug)]
pub(crate) struct Cohort {
    /// Unique among the cohorts of a replica's tables; another one on another replica.
    pub(super) id: u64,
    pub(crate) namespace: CompactString,
    /// What its devices say of themselves.
    pub(crate) own: Arc<Profile>,
    /// What they are and offer: their own word, with what is assigned laid over it.
    pub(crate) profile: Arc<Profile>,
    /// What an administrator says of them. `None`: they made their records by themselves.
    pub(crate) assigned: Option<Arc<Assigned>>,
    /// Whether calls to its devices are allowed.
    pub(crate) enabled: bool,
    /// The life that holds the sessions. `None`: they are closed.
    pub(crate) holder: Option<Arc<Life>>,
    count: AtomicU32,
    /// Whether it is among those that wait to be forgotten. The writer's alone.
    lingers: AtomicBool,
    members: RwLock<HashSet<RowNumber>>,
}

impl Cohort {
    pub(super) fn new(
        id: u64,
        namespace: CompactString,
        (own, profile): (Arc<Profile>, Arc<Profile>),
        assigned: Option<Arc<Assigned>>,
        holder: Option<Arc<Life>>,
    ) -> Self {
        let members = RwLock::new(HashSet::new());
        let enabled = assigned.as_ref().is_none_or(|assigned| assigned.enabled);
        let (count, lingers) = (AtomicU32::new(0), AtomicBool::new(false));
        Self { id, namespace, own, profile, assigned, enabled, holder, count, lingers, members }
    }

    /// The life that holds the sessions, if it is up.
    pub(crate) fn valid_holder(&self) -> Option<&Life> {
        self.holder.as_deref().filter(|life| life.is_up())
    }

    /// How many rows it has.
    pub(crate) fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// Its rows, in no order.
    pub(crate) fn members(&self) -> Vec<RowNumber> {
        self.members.read().iter().copied().collect()
    }

    /// Adds a row; says whether it is the first of a new cohort, or of one that was forgotten.
    pub(super) fn enter(&self, row: RowNumber) -> bool {
        self.members.write().insert(row);
        if let Some(holder) = &self.holder {
            holder.gain();
        }
        self.count.fetch_add(1, Ordering::Relaxed) == 0 && !self.lingers.load(Ordering::Relaxed)
    }

    /// Whether it did not linger already.
    pub(super) fn begin_to_linger(&self) -> bool {
        !self.lingers.swap(true, Ordering::Relaxed)
    }

    /// It is in use again, or forgotten.
    pub(super) fn end_lingering(&self) {
        self.lingers.store(false, Ordering::Relaxed);
    }

    /// Some of its rows have moved within their shard. All are renamed at once: who lists them misses none.
    pub(super) fn moved(&self, moves: &[(RowNumber, RowNumber)]) {
        let mut members = self.members.write();
        for (from, _) in moves {
            members.remove(from);
        }
        members.extend(moves.iter().map(|(_, to)| *to));
    }

    /// Removes a row; says whether it was the last.
    pub(super) fn leave(&self, row: RowNumber) -> bool {
        let mut members = self.members.write();
        members.remove(&row);
        if members.capacity() > 64 && members.len() * 8 < members.capacity() {
            // Sets never shrink by themselves; a storm's room would stay for ever.
            let keep = members.len() * 2;
            members.shrink_to(keep);
        }
        if let Some(holder) = &self.holder {
            holder.lose();
        }
        self.count.fetch_sub(1, Ordering::Relaxed) == 1
    }
}
