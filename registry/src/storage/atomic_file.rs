//! Replaces a small file so that a crash leaves the old or the new one: tmp → fsync → rename → fsync of the folder.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use super::error::StorageError;

/// Replaces the file's content.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), StorageError> {
    let tmp = tmp_path(path);
    let mut file = File::create(&tmp).map_err(StorageError::io("create", &tmp))?;
    file.write_all(content).map_err(StorageError::io("write", &tmp))?;
    file.sync_all().map_err(StorageError::io("sync", &tmp))?;
    publish(&tmp, path)
}

/// Gives a synced file its final name, durably.
pub(super) fn publish(tmp: &Path, path: &Path) -> Result<(), StorageError> {
    fs::rename(tmp, path).map_err(StorageError::io("rename", tmp))?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Makes the names in a folder durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StorageError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(StorageError::io("sync", dir))
}

/// The name that a file has until it is complete.
pub(super) fn tmp_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}
