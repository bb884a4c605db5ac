//! Writes a snapshot: under a temporary name until it is complete and synced.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::PathBuf,
};

use super::{SnapshotFile, SnapshotStore, head};
use crate::storage::{StorageError, StoredLogId, atomic_file};

/// A snapshot that is being written. Dropped before [`Self::commit`], it leaves nothing.
#[derive(Debug)]
pub struct SnapshotWriter {
    store: SnapshotStore,
    tmp: PathBuf,
    file: BufWriter<File>,
    head: head::Head,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Writing,
    Committed,
}

impl SnapshotWriter {
    pub(super) fn create(store: &SnapshotStore, tmp: PathBuf) -> Result<Self, StorageError> {
        let mut file = BufWriter::new(File::create(&tmp).map_err(StorageError::io("create", &tmp))?);
        file.write_all(&[0; head::BYTES]).map_err(StorageError::io("write", &tmp))?;
        let head = head::Head { body_bytes: 0, checksum: 0 };
        Ok(Self { store: store.clone(), tmp, file, head, state: State::Writing })
    }

    /// How many bytes were written.
    pub fn body_bytes(&self) -> u64 {
        self.head.body_bytes
    }

    /// Makes the snapshot durable and the newest one, and removes older ones. Blocks for the time of an fsync.
    ///
    /// # Errors
    /// If it cannot be written; the snapshots that there were stay.
    pub fn commit(mut self, at: StoredLogId) -> Result<SnapshotFile, StorageError> {
        self.finish().map_err(StorageError::io("write", &self.tmp))?;
        let file = SnapshotFile::new(&self.store, at, self.head);
        atomic_file::publish(&self.tmp, &file.path())?;
        self.state = State::Committed;
        self.store.adopt(&file);
        Ok(file)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.file.flush()?;
        let file = self.file.get_mut();
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&self.head.encode())?;
        file.sync_all()
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.head.body_bytes += written as u64;
        self.head.checksum = crc32c::crc32c_append(self.head.checksum, &bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if self.state == State::Writing {
            // What is left over is removed at the next start.
            let _ = fs::remove_file(&self.tmp);
        }
    }
}
