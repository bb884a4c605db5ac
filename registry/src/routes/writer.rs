//! The one writer of the tables: keeps rows, cohorts, groups and counts in step.

use std::sync::{Arc, atomic::Ordering};

use super::{
    cohort::Cohort,
    cohorts::Cohorts,
    life::Life,
    row::Row,
    shard::{Move, RowNumber},
    tables::Tables,
};
use crate::model::{
    ids::{AttachNumber, DeviceKey, Epoch, InstanceId, UnixMillis},
    profile::Profile,
    record::Standing,
};

/// Where a device's row is, or would be.
pub(crate) struct Place {
    hash: u64,
    found: Option<(RowNumber, Row)>,
}

impl Place {
    /// The row, if there is one.
    pub(crate) fn row(&self) -> Option<&Row> {
        self.found.as_ref().map(|(_, row)| row)
    }
}

/// What a row shall say.
pub(crate) struct Content {
    pub(crate) epoch: Epoch,
    pub(crate) instance: InstanceId,
    pub(crate) attach_number: AttachNumber,
    /// What the device says of itself.
    pub(crate) profile: Arc<Profile>,
    pub(crate) standing: Standing,
    pub(crate) holder: Option<Arc<Life>>,
}

impl Content {
    /// What a row says.
    pub(crate) fn of(row: &Row) -> Self {
        Self {
            epoch: row.epoch,
            instance: row.instance,
            attach_number: row.attach_number,
            profile: Arc::clone(&row.cohort.own),
            standing: row.standing(),
            holder: row.cohort.holder.clone(),
        }
    }

    /// The same with the session closed, at that time.
    pub(crate) fn closed(self, at: UnixMillis) -> Self {
        Self { standing: self.standing.away_since(at), holder: None, ..self }
    }
}

/// The one writer of the tables.
#[derive(Debug)]
pub(crate) struct Writer {
    tables: Arc<Tables>,
    cohorts: Cohorts,
}

impl Writer {
    /// A writer of new, empty tables.
    pub(crate) fn new() -> Self {
        Self { tables: Arc::new(Tables::new()), cohorts: Cohorts::default() }
    }

    /// What it writes.
    pub(crate) fn tables(&self) -> &Arc<Tables> {
        &self.tables
    }

    /// How many profiles are kept.
    pub(crate) fn profiles(&self) -> usize {
        self.cohorts.profiles()
    }

    /// All cohorts, in no order.
    pub(crate) fn cohorts(&self) -> impl Iterator<Item = &Arc<Cohort>> {
        self.cohorts.iter()
    }

    /// The profile that rows share if there is one that equals this; else this one.
    pub(crate) fn shared(&self, profile: &Arc<Profile>) -> Arc<Profile> {
        self.cohorts.shared(profile)
    }

    /// Fetches the rows of up to [`crate::limits::ROWS_TOGETHER`] devices that are about to change.
    pub(crate) fn fetch<'k>(&self, keys: impl Iterator<Item = &'k DeviceKey>) {
        drop(self.tables.fetch(keys.map(|key| (key.namespace.as_str(), key.device.as_str()))));
    }

    /// Looks a device up, to change it.
    pub(crate) fn find(&self, key: &DeviceKey) -> Place {
        let hash = self.tables.hash_of(&key.namespace, &key.device);
        let number = Tables::shard_of(hash);
        let shard = self.tables.shards[number].0.read();
        let found = shard
            .find(hash, &key.namespace, &key.device)
            .map(|(slot, row)| (RowNumber::new(number, slot), row.clone()));
        Place { hash, found }
    }

    /// Writes a device's row, at the place where [`Self::find`] just found or missed it. Returns what the device is and
    /// offers, with what is assigned.
    pub(crate) fn put(&mut self, place: Place, key: &DeviceKey, content: Content) -> Arc<Profile> {
        let Content { epoch, instance, attach_number, profile, standing, holder } = content;
        let assigned = match &standing {
            Standing::SelfMade { .. } => None,
            Standing::Registered { assigned, .. } => Some(assigned),
        };
        let cohort = self.cohorts.find_or_make(&key.namespace, &profile, assigned, holder.as_ref());
        let session = (epoch, instance, attach_number);
        let row = |device| Row::new(device, session, &standing, Arc::clone(&cohort));
        match place.found {
            None => {
                let number = self.insert(place.hash, row(key.device.clone()));
                self.enter(&cohort, number);
            }
            Some((number, old)) => {
                self.tables.shards[number.shard()].0.write().replace(number.slot(), row(old.device));
                if !Arc::ptr_eq(&old.cohort, &cohort) {
                    self.enter(&cohort, number);
                    self.leave(&old.cohort, number);
                }
            }
        }
        Arc::clone(&cohort.profile)
    }

    /// Removes a device's row, if [`Self::find`] just found it there.
    pub(crate) fn remove(&mut self, place: Place) {
        let Some((number, old)) = place.found else { return };
        let shard = number.shard();
        // Before others take its number.
        self.leave(&old.cohort, number);
        let mut rows = self.tables.shards[shard].0.write();
        for moved in rows.remove(number.slot(), |row| self.tables.hash_of_row(row)) {
            self.renumber(shard, vec![moved]);
        }
        drop(rows);
        self.tables.devices.fetch_sub(1, Ordering::Relaxed);
    }

    fn insert(&self, hash: u64, row: Row) -> RowNumber {
        let shard = Tables::shard_of(hash);
        let mut rows = self.tables.shards[shard].0.write();
        let (slot, moves) = rows.insert(hash, row, |row| self.tables.hash_of_row(row));
        self.renumber(shard, moves);
        drop(rows);
        self.tables.devices.fetch_add(1, Ordering::Relaxed);
        RowNumber::new(shard, slot)
    }

    /// Tells the cohorts of rows that moved. Called under the shard's lock, so that nobody finds another row there.
    fn renumber(&self, shard: usize, mut moves: Vec<Move>) {
        if moves.is_empty() {
            return;
        }
        moves.sort_unstable_by_key(|moved| moved.cohort.id);
        for moves in moves.chunk_by(|one, other| one.cohort.id == other.cohort.id) {
            let number = |slot| RowNumber::new(shard, slot);
            let renamed: Vec<_> = moves.iter().map(|one| (number(one.from), number(one.to))).collect();
            moves.iter().take(1).for_each(|one| one.cohort.moved(&renamed));
        }
        self.tables.note_moves();
    }

    fn enter(&self, cohort: &Arc<Cohort>, number: RowNumber) {
        if cohort.enter(number) {
            self.tables.groups.write().add(cohort);
        }
    }

    fn leave(&mut self, cohort: &Arc<Cohort>, number: RowNumber) {
        if cohort.leave(number)
            && let Some(forgotten) = self.cohorts.emptied(cohort)
        {
            self.tables.groups.write().remove(&forgotten);
        }
    }
}
