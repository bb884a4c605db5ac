//! What is left over in the tables: records that nobody has used for long, rows of lives that are over.

use super::{Routes, row::Row};
use crate::model::ids::{DeviceKey, Epoch, UnixMillis};

/// Rows that a leader has something to do about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Records that their devices made and did not use since the cutoff, or for which no time is known.
    pub expired: Vec<DeviceKey>,
    /// Sessions, by their epoch, whose holder's life is over.
    pub void: Vec<(DeviceKey, Epoch)>,
}

impl Routes {
    /// Looks for them, in the order of their names; at most `limit` of each. `None` as cutoff: nothing expires.
    ///
    /// Reads every row, without a lock: some ten milliseconds per million. Call it where blocking is allowed.
    pub fn leftovers(&self, cutoff: Option<UnixMillis>, limit: usize) -> Leftovers {
        let mut found = Leftovers::default();
        let chunks = self.tables.load().chunks();
        for row in chunks.iter().flat_map(|chunk| chunk.iter().flatten()) {
            if is_expired(row, cutoff) {
                if found.expired.len() < limit {
                    found.expired.push(key(row));
                }
            } else if found.void.len() < limit && is_void(row) {
                found.void.push((key(row), row.epoch));
            }
        }
        // Where rows lie is a matter of chance; what a leader writes of them is not.
        found.expired.sort_unstable();
        found.void.sort_unstable();
        found
    }
}

fn is_expired(row: &Row, cutoff: Option<UnixMillis>) -> bool {
    cutoff.is_some_and(|cutoff| row.unused_since().is_some_and(|since| since < cutoff))
}

fn is_void(row: &Row) -> bool {
    row.cohort.holder.as_deref().is_some_and(|life| !life.is_up())
}

fn key(row: &Row) -> DeviceKey {
    DeviceKey { namespace: row.cohort.namespace.clone(), device: row.device.clone() }
}
