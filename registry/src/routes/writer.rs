//! The one writer of the tables: keeps rows, cohorts, groups and counts in step.

use std::sync::{Arc, atomic::Ordering};

use super::{cohort::Cohort, cohorts::Cohorts, life::Life, row::Row, shard::RowNumber, tables::Tables};
use crate::model::{
    ids::{AttachNumber, DeviceKey, Epoch, InstanceId},
    profile::Profile,
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
    pub(crate) profile: Arc<Profile>,
    pub(crate) enabled: bool,
    pub(crate) holder: Option<Arc<Life>>,
}

impl Content {
    /// What a row says.
    pub(crate) fn of(row: &Row) -> Self {
        Self {
            epoch: row.epoch,
            instance: row.instance,
            attach_number: row.attach_number,
            profile: Arc::clone(&row.cohort.profile),
            enabled: row.cohort.enabled,
            holder: row.cohort.holder.clone(),
        }
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

    /// How many profiles are in use.
    pub(crate) fn profiles(&self) -> usize {
        self.cohorts.profiles()
    }

    /// All cohorts, in no order.
    pub(crate) fn cohorts(&self) -> impl Iterator<Item = &Arc<Cohort>> {
        self.cohorts.iter()
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

    /// Writes a device's row, at the place where [`Self::find`] just found or missed it.
    pub(crate) fn put(&mut self, place: Place, key: &DeviceKey, content: Content) {
        let Content { epoch, instance, attach_number, profile, enabled, holder } = content;
        let cohort = self.cohorts.find_or_make(&key.namespace, &profile, enabled, holder.as_ref());
        let row = |device| Row { device, epoch, instance, attach_number, cohort: Arc::clone(&cohort) };
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
    }

    fn insert(&self, hash: u64, row: Row) -> RowNumber {
        let shard = Tables::shard_of(hash);
        let slot = self.tables.shards[shard].0.write().insert(hash, row, |row| self.tables.hash_of_row(row));
        self.tables.devices.fetch_add(1, Ordering::Relaxed);
        RowNumber::new(shard, slot)
    }

    fn enter(&self, cohort: &Arc<Cohort>, number: RowNumber) {
        if cohort.enter(number) {
            self.tables.groups.write().add(cohort);
        }
    }

    fn leave(&mut self, cohort: &Arc<Cohort>, number: RowNumber) {
        if cohort.leave(number) {
            self.tables.groups.write().remove(cohort);
            self.cohorts.forget(cohort);
        }
    }
}
