//! The data folder: created for this user alone, locked against a second process, and where everything in it lies.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use fs4::fs_std::FileExt;

use super::{
    atomic_file,
    error::{Damage, StorageError},
    incoming,
};

const OWNER_ONLY: u32 = 0o700;

/// A node's data folder, locked until the last clone is dropped.
///
/// | name | what |
/// |---|---|
/// | `lock` | the lock |
/// | `identity` | who the node is, see [`super::identity`] |
/// | `log/` | the Raft log and the vote, in sled |
/// | `log.mark` | what of the log was acknowledged, see `sled_log/mark.rs` |
/// | `snapshots/` | see [`super::snapshot_store`] |
/// | `removed-*/` | all of the above, of a node that was removed, see [`super::put_aside_removed`] |
/// | `incoming-…/`, `before-…/` | a folder that takes this one's place, and what it replaced, see `incoming.rs` |
#[derive(Debug, Clone)]
pub struct DataDir {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    node: String,
    _lock: File,
}

impl DataDir {
    /// Opens the folder of the node of this name; creates it, mode 0700, if it is not there.
    ///
    /// # Errors
    /// [`StorageError::InUse`] if another process has it, [`StorageError::Io`] if it cannot be created or locked.
    pub fn open(path: &Path, node: &str) -> Result<Self, StorageError> {
        create(path)?;
        let path = path.canonicalize().map_err(StorageError::io("open", path))?;
        let lock = lock(&path)?;
        incoming::finish(&path)?;
        Ok(Self { inner: Arc::new(Inner { path, node: node.to_owned(), _lock: lock }) })
    }

    /// Where it lies, absolute.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The name of the node that owns it.
    pub fn node(&self) -> &str {
        &self.inner.node
    }

    /// The file that says who the node is.
    pub fn identity_path(&self) -> PathBuf {
        self.inner.path.join("identity")
    }

    /// The folder of the log.
    pub fn log_path(&self) -> PathBuf {
        self.inner.path.join("log")
    }

    /// The mark of what of the log was acknowledged.
    pub fn mark_path(&self) -> PathBuf {
        self.inner.path.join("log.mark")
    }

    /// The folder of the snapshots.
    pub fn snapshots_path(&self) -> PathBuf {
        self.inner.path.join("snapshots")
    }

    /// The error for something in it that is damaged.
    pub(super) fn damaged(&self, part: &str, detail: String) -> StorageError {
        StorageError::Damaged(Box::new(Damage {
            part: part.to_owned(),
            detail,
            node: self.inner.node.clone(),
            folder: self.inner.path.clone(),
        }))
    }
}

fn create(path: &Path) -> Result<(), StorageError> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(OWNER_ONLY)
        .create(path)
        .map_err(StorageError::io("create the data folder", path))?;
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => atomic_file::sync_dir(parent),
        None => Ok(()),
    }
}

fn lock(path: &Path) -> Result<File, StorageError> {
    let lock_path = path.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(StorageError::io("open", &lock_path))?;
    match file.try_lock_exclusive() {
        Ok(true) => Ok(file),
        Ok(false) => Err(StorageError::InUse { path: path.to_owned() }),
        Err(error) => Err(StorageError::io("lock", &lock_path)(error)),
    }
}

/// Creates a folder in the data folder, durably, if it is not there.
pub(super) fn create_inside(path: &Path) -> Result<(), StorageError> {
    match fs::create_dir(path) {
        Ok(()) => atomic_file::sync_dir(path.parent().unwrap_or(path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StorageError::io("create", path)(error)),
    }
}
