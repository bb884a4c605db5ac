//! Snapshot files: written whole or not at all, checked when read. What they say does not live here.
//!
//! One file each, `<index>-<term>-<leader>.snapshot`: a head with format, length and CRC-32C, then the body.

mod head;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    fs::{self, File},
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use self::head::Head;
pub use self::{reader::SnapshotReader, writer::SnapshotWriter};
use super::{DataDir, StorageError, StoredLogId, atomic_file, data_dir, seal::SealError};

const SUFFIX: &str = ".snapshot";

/// The snapshots of a data folder; cheap to clone. All calls block.
#[derive(Debug, Clone)]
pub struct SnapshotStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: DataDir,
    path: PathBuf,
    newest: Mutex<Option<SnapshotFile>>,
    /// Names temporary files.
    begun: AtomicU64,
}

/// A complete snapshot.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    dir: DataDir,
    at: StoredLogId,
    head: Head,
}

impl SnapshotStore {
    /// Opens the snapshots of this folder, removes unfinished ones, and checks the newest from end to end.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if the newest is not what was written, [`StorageError::UnknownFormat`] if a newer
    /// version wrote it, [`StorageError::Io`] if it cannot be read.
    pub fn open(dir: &DataDir) -> Result<Self, StorageError> {
        let path = dir.snapshots_path();
        data_dir::create_inside(&path)?;
        let newest = newest(dir, &path)?;
        let inner =
            Inner { dir: dir.clone(), path, newest: Mutex::new(newest.clone()), begun: AtomicU64::new(0) };
        let store = Self { inner: Arc::new(inner) };
        store.remove_all_but(newest.as_ref().map(SnapshotFile::path));
        Ok(store)
    }

    /// The newest complete snapshot.
    pub fn newest(&self) -> Option<SnapshotFile> {
        self.inner.newest.lock().clone()
    }

    /// Begins a snapshot.
    ///
    /// # Errors
    /// If no file can be made.
    pub fn begin(&self) -> Result<SnapshotWriter, StorageError> {
        let number = self.inner.begun.fetch_add(1, Ordering::Relaxed);
        let tmp = atomic_file::tmp_path(&self.inner.path.join(format!("begun-{number}")));
        SnapshotWriter::create(self, tmp)
    }

    /// Makes a published file the newest, unless a newer one is there; removes the older one.
    fn adopt(&self, file: &SnapshotFile) {
        let mut newest = self.inner.newest.lock();
        let older = match &*newest {
            Some(current) if current.at.index > file.at.index => file.path(),
            Some(current) if current.path() != file.path() => {
                let older = current.path();
                *newest = Some(file.clone());
                older
            }
            Some(_) | None => {
                *newest = Some(file.clone());
                return;
            }
        };
        remove(&older);
    }

    fn remove_all_but(&self, keep: Option<PathBuf>) {
        let Ok(names) = fs::read_dir(&self.inner.path) else { return };
        names
            .flatten()
            .map(|name| name.path())
            .filter(|path| Some(path) != keep.as_ref())
            .for_each(|path| remove(&path));
    }
}

/// A file that stays is removed at the next start: not worth failing for.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "an old snapshot cannot be removed");
    }
}

fn newest(dir: &DataDir, path: &Path) -> Result<Option<SnapshotFile>, StorageError> {
    let names = fs::read_dir(path).map_err(StorageError::io("list", path))?;
    let newest =
        names.flatten().filter_map(|name| parse(name.file_name().to_str()?)).max_by_key(|at| (at.index, *at));
    newest.map(|at| SnapshotFile::check(dir, at)).transpose()
}

fn name(at: StoredLogId) -> String {
    format!("{:020}-{}-{}{SUFFIX}", at.index, at.term, at.leader)
}

fn parse(name: &str) -> Option<StoredLogId> {
    let mut numbers = name.strip_suffix(SUFFIX)?.split('-').map(|number| number.parse().ok());
    let (index, term, leader) = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(StoredLogId { term, leader, index })
}

impl SnapshotFile {
    fn new(store: &SnapshotStore, at: StoredLogId, head: Head) -> Self {
        Self { dir: store.inner.dir.clone(), at, head }
    }

    /// Reads all of it once, to check it.
    fn check(dir: &DataDir, at: StoredLogId) -> Result<Self, StorageError> {
        let mut file = Self { dir: dir.clone(), at, head: Head { body_bytes: 0, checksum: 0 } };
        let path = file.path();
        let mut body = BufReader::new(File::open(&path).map_err(StorageError::io("open", &path))?);
        file.head = file.read_head(&mut body)?;
        let mut reader = SnapshotReader::new(body, file.clone());
        match io::copy(&mut reader, &mut io::sink()) {
            Ok(_) => Ok(file),
            Err(error) => match error.downcast::<StorageError>() {
                Ok(damaged) => Err(damaged),
                Err(error) => Err(StorageError::io("read", &path)(error)),
            },
        }
    }

    fn read_head(&self, file: &mut BufReader<File>) -> Result<Head, StorageError> {
        match Head::read(file).map_err(StorageError::io("read", &self.path()))? {
            Ok(head) => Ok(head),
            Err(SealError::Format(found)) => {
                Err(StorageError::UnknownFormat { path: self.path(), found, known: head::FORMAT })
            }
            Err(error) => Err(self.damaged(error.describe())),
        }
    }

    /// The last log entry that it includes.
    pub fn at(&self) -> StoredLogId {
        self.at
    }

    /// Where it lies.
    pub fn path(&self) -> PathBuf {
        self.dir.snapshots_path().join(name(self.at))
    }

    /// The CRC-32C of its body.
    pub fn checksum(&self) -> u32 {
        self.head.checksum
    }

    /// How long its body is.
    pub fn body_bytes(&self) -> u64 {
        self.head.body_bytes
    }

    /// Its body, checked as it is read: only after the end was reached without an error is it what was written. An open
    /// reader goes on when the snapshot is replaced by a newer one.
    ///
    /// # Errors
    /// If it cannot be opened, or its head is damaged.
    pub fn open(&self) -> Result<SnapshotReader, StorageError> {
        let path = self.path();
        let mut file = BufReader::new(File::open(&path).map_err(StorageError::io("open", &path))?);
        if self.read_head(&mut file)? != self.head {
            return Err(self.damaged("its head has changed".to_owned()));
        }
        Ok(SnapshotReader::new(file, self.clone()))
    }

    fn damaged(&self, detail: String) -> StorageError {
        self.dir.damaged("the snapshot", format!("in {}, {detail}", self.path().display()))
    }
}
