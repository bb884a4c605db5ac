//! The mark: what of the log was acknowledged, kept apart from it, so that a log that lost its end is noticed.
//!
//! sled takes a damaged record for the torn end of its file and drops what follows. Inside the log there is no telling
//! whether that was ever acknowledged. So after each sync the writer notes the number of its last write here. The
//! note itself is synced once a second: it survives a killed process exactly, a power cut up to a second behind. It never
//! runs ahead of the log.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::storage::{
    StorageError, atomic_file,
    seal::{seal, unseal},
};

const FORMAT: u32 = 1;
/// Written in turn, a page apart: a torn write leaves the other one.
const SLOTS: [u64; 2] = [0, 4096];
const SLOT_BYTES: usize = 28;

/// What was acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Acknowledged {
    /// The number of the last write.
    pub(super) sequence: u64,
    /// The index after the last entry.
    pub(super) next_index: u64,
}

#[derive(Debug)]
pub(super) struct Mark {
    path: PathBuf,
    file: File,
    noted: Acknowledged,
    turn: usize,
    unsynced: bool,
}

impl Mark {
    /// Opens the mark; makes one if there is none, or none that can be read.
    pub(super) fn open(path: &Path) -> Result<Self, StorageError> {
        let existed = path.exists();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(StorageError::io("open", path))?;
        let slots = SLOTS.map(|at| read_slot(&file, at));
        let turn = usize::from(slots[0].map(|slot| slot.sequence) >= slots[1].map(|slot| slot.sequence));
        let noted = slots[1 - turn];
        if existed && noted.is_none() {
            tracing::warn!(path = %path.display(), "the log's mark cannot be read, a new one is made");
        }
        let mut mark =
            Self { path: path.to_owned(), file, noted: noted.unwrap_or_default(), turn, unsynced: false };
        if noted.is_none() {
            mark.note(Acknowledged::default())?;
            mark.note(Acknowledged::default())?;
            mark.sync()?;
            atomic_file::sync_dir(path.parent().unwrap_or(path))?;
        }
        Ok(mark)
    }

    pub(super) fn noted(&self) -> Acknowledged {
        self.noted
    }

    /// Notes what is acknowledged from now on. Not synced.
    pub(super) fn note(&mut self, acknowledged: Acknowledged) -> Result<(), StorageError> {
        let mut payload = [0; 16];
        payload[..8].copy_from_slice(&acknowledged.sequence.to_le_bytes());
        payload[8..].copy_from_slice(&acknowledged.next_index.to_le_bytes());
        self.file
            .write_all_at(&seal(FORMAT, &payload), SLOTS[self.turn])
            .map_err(StorageError::io("write", &self.path))?;
        self.noted = acknowledged;
        self.turn = 1 - self.turn;
        self.unsynced = true;
        Ok(())
    }

    /// Takes back, durably, that entries from this index on were acknowledged. Call before they are removed.
    pub(super) fn lower(&mut self, next_index: u64) -> Result<(), StorageError> {
        if next_index >= self.noted.next_index {
            return Ok(());
        }
        // In both slots: the older one must not speak for entries that are gone.
        self.note(Acknowledged { next_index, ..self.noted })?;
        self.note(self.noted)?;
        self.sync()
    }

    /// Whether [`Self::sync`] has something to do.
    pub(super) fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    pub(super) fn sync(&mut self) -> Result<(), StorageError> {
        self.file.sync_data().map_err(StorageError::io("sync", &self.path))?;
        self.unsynced = false;
        Ok(())
    }
}

fn read_slot(file: &File, at: u64) -> Option<Acknowledged> {
    let mut sealed = [0; SLOT_BYTES];
    file.read_exact_at(&mut sealed, at).ok()?;
    let payload = unseal(FORMAT, &sealed).ok()?;
    let (sequence, next_index) = payload.split_at_checked(8)?;
    Some(Acknowledged {
        sequence: u64::from_le_bytes(sequence.try_into().ok()?),
        next_index: u64::from_le_bytes(next_index.try_into().ok()?),
    })
}
