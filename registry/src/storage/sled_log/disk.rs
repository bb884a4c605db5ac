//! The log on disk, as its one writer sees it: stages changes into writes, then makes them durable.

use std::{sync::Arc, time::Instant};

use metrics::Histogram;
use parking_lot::RwLock;

use super::{
    chunk::{self, Chunk},
    mark::{Acknowledged, Mark},
    read::chunk_of,
    records::Record,
    sync_file::SyncFile,
};
use crate::{
    limits,
    storage::{
        StorageError, StoredEntry, StoredLogId, StoredVote,
        keyspaces::{self, ChunkKey},
    },
};

pub(super) struct Disk {
    pub(super) tree: sled::Tree,
    pub(super) data_file: Box<dyn SyncFile>,
    pub(super) data_path: std::path::PathBuf,
    pub(super) mark: Mark,
    /// Readers hold it while they walk over several keys, so that these do not vanish under them.
    pub(super) removals: Arc<RwLock<()>>,
    pub(super) fsync_seconds: Histogram,
    pub(super) written: Acknowledged,
    /// Where the log begins if nothing was purged.
    pub(super) first: u64,
    /// Chunks before this key are purged, and not all removed yet.
    pub(super) swept_to: Option<ChunkKey>,
    /// Chunks that came since the last sweep.
    pub(super) added: usize,
    pub(super) staged: Staged,
}

/// Changes for the next write, in their order; `None` removes a key.
#[derive(Default)]
pub(super) struct Staged {
    changes: Vec<(sled::IVec, Option<sled::IVec>)>,
    bytes: usize,
    removals: usize,
}

impl Staged {
    fn insert(&mut self, key: &[u8], value: &[u8]) {
        self.bytes += value.len();
        self.changes.push((key.into(), Some(value.into())));
    }

    fn remove(&mut self, key: &[u8]) {
        self.removals += 1;
        self.changes.push((key.into(), None));
    }
}

impl Disk {
    /// Stages entries, which follow the last one.
    pub(super) fn append(&mut self, entries: &[StoredEntry]) -> Result<(), StorageError> {
        self.set_first(entries);
        for (key, value) in chunk::pack(entries) {
            self.staged.insert(&key.to_bytes(), &value);
            self.added += 1;
            if key.part == 0 && self.staged.bytes >= limits::LOG_WRITE_BYTES {
                self.write()?;
            }
        }
        if let Some(last) = entries.last() {
            self.written.next_index = last.log_id.index + 1;
        }
        Ok(())
    }

    /// Notes where an empty log begins, so that a lost beginning is told from one that never was.
    fn set_first(&mut self, entries: &[StoredEntry]) {
        let Some(first) = entries.first().map(|entry| entry.log_id.index) else { return };
        if self.written.next_index == 0 && self.first != first {
            self.staged.insert(keyspaces::FIRST, &first.to_sealed());
            self.first = first;
        }
    }

    /// Stages the vote.
    pub(super) fn set_vote(&mut self, vote: StoredVote) {
        self.staged.insert(keyspaces::VOTE, &vote.to_sealed());
    }

    /// Stages the committed entry.
    pub(super) fn set_committed(&mut self, committed: Option<StoredLogId>) {
        match committed {
            Some(committed) => self.staged.insert(keyspaces::COMMITTED, &committed.to_sealed()),
            None => self.staged.remove(keyspaces::COMMITTED),
        }
    }

    /// Removes all entries after this one, from the tail backwards, so that a crash never leaves a hole.
    pub(super) fn truncate_after(&mut self, last: Option<StoredLogId>) -> Result<(), StorageError> {
        let next_index = last.map_or(0, |last| last.index + 1);
        self.write()?;
        self.mark.lower(next_index)?;
        let tail = ChunkKey::first_of(next_index).to_bytes()..=ChunkKey::last_of(u64::MAX).to_bytes();
        for key in self.tree.range(tail).keys().rev() {
            self.staged.remove(&key?);
            self.write_if_many_removals()?;
        }
        if let Some(last) = last {
            self.cut_chunk_after(last.index)?;
        }
        self.written.next_index = self.written.next_index.min(next_index);
        self.write()
    }

    /// Rewrites the chunk that holds this entry without those after it.
    fn cut_chunk_after(&mut self, index: u64) -> Result<(), StorageError> {
        let before = ChunkKey::first_of(0).to_bytes()..=ChunkKey::last_of(index).to_bytes();
        let Some((key, chunk)) = self.tree.range(before).next_back().transpose()?.and_then(decode) else {
            return Ok(());
        };
        if let Chunk::Packed(mut entries) = chunk
            && entries.last().is_some_and(|last| last.log_id.index > index)
        {
            entries.retain(|entry| entry.log_id.index <= index);
            for (_, value) in chunk::pack(&entries) {
                self.staged.insert(&key.to_bytes(), &value);
            }
        }
        Ok(())
    }

    /// Stages that all entries up to this one are purged. Their chunks go later, see [`Self::sweep`]; those of a chunk that holds
    /// later ones too stay with it, unread.
    pub(super) fn purge(&mut self, upto: StoredLogId) -> Result<(), StorageError> {
        self.write()?;
        self.swept_to = Some(self.first_kept(upto.index)?);
        self.staged.insert(keyspaces::PURGED, &upto.to_sealed());
        self.written.next_index = self.written.next_index.max(upto.index + 1);
        Ok(())
    }

    /// Where the chunk begins that holds the entry after this one: keys alone say so.
    fn first_kept(&self, purged: u64) -> Result<ChunkKey, StorageError> {
        let next = purged + 1;
        if next >= self.written.next_index {
            return Ok(ChunkKey::first_of(next));
        }
        Ok(chunk_of(&self.tree, next)?)
    }

    /// Stages the removal of some purged chunks, the first of them.
    pub(super) fn sweep(&mut self) -> Result<(), StorageError> {
        let keys = limits::LOG_SWEEP_KEYS.max(2 * std::mem::take(&mut self.added));
        let Some(end) = self.swept_to else { return Ok(()) };
        let mut removed = 0;
        for key in self.tree.range(ChunkKey::first_of(0).to_bytes()..end.to_bytes()).keys().take(keys) {
            self.staged.remove(&key?);
            removed += 1;
            self.write_if_many_removals()?;
        }
        if removed < keys {
            self.swept_to = None;
        }
        Ok(())
    }

    /// Whether there are purged chunks left.
    pub(super) fn is_sweeping(&self) -> bool {
        self.swept_to.is_some()
    }

    /// Removes the chunks of a torn end, the last first.
    pub(super) fn cut(&mut self, torn: &[ChunkKey]) -> Result<(), StorageError> {
        for key in torn.iter().rev() {
            self.staged.remove(&key.to_bytes());
            self.write_if_many_removals()?;
        }
        self.write()
    }

    fn write_if_many_removals(&mut self) -> Result<(), StorageError> {
        if self.staged.removals >= limits::LOG_WRITE_DELETES { self.write() } else { Ok(()) }
    }

    /// Writes what is staged. Durable only after [`Self::sync`].
    ///
    /// A crash leaves the changes up to one of them, for sled's log is in their order. So each change must be harmless without those
    /// after it: half an entry is a torn end, a truncation begins with the tail, and the sequence comes last. sled's batch would be
    /// all or nothing, but puts a manifest before it in a write of its own, with a wait for the disk and two turns of its threads.
    fn write(&mut self) -> Result<(), StorageError> {
        if self.staged.changes.is_empty() {
            return Ok(());
        }
        let sequence = self.written.sequence + 1;
        self.staged.insert(keyspaces::SEQUENCE, &sequence.to_sealed());
        let Staged { changes, removals, .. } = std::mem::take(&mut self.staged);
        let _no_readers = (removals > 0).then(|| self.removals.write());
        for (key, value) in changes {
            match value {
                Some(value) => self.tree.insert(key, value)?,
                None => self.tree.remove(key)?,
            };
        }
        self.written.sequence = sequence;
        Ok(())
    }

    /// Writes what is staged and makes everything durable.
    pub(super) fn sync(&mut self) -> Result<(), StorageError> {
        self.write()?;
        if self.written == self.mark.noted() {
            return Ok(());
        }
        // sled's own flush ends with sync_file_range, which survives a killed process but not a power cut.
        self.tree.flush()?;
        let began = Instant::now();
        self.data_file.sync_data().map_err(StorageError::io("sync", &self.data_path))?;
        self.fsync_seconds.record(began.elapsed());
        self.mark.note(self.written)
    }
}

/// A chunk and its key. `None`: damaged, or no chunk.
fn decode((key, value): (sled::IVec, sled::IVec)) -> Option<(ChunkKey, Chunk)> {
    let key = ChunkKey::from_bytes(&key)?;
    Chunk::decode(key, &value).ok().map(|chunk| (key, chunk))
}
