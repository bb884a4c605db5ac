//! Replaces what a data folder holds by another folder's content, wholly or not at all, whenever the process ends.
//!
//! The new content is made in `incoming.tmp/`, which means nothing until it gets the name `incoming-<cluster>/`. From then
//! on its parts are moved up, and whoever opens the folder next goes on with that. What they replace goes to
//! `before-<cluster>/`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{DataDir, StorageError, atomic_file, data_dir};
use crate::model::ids::ClusterId;

const BUILDING: &str = "incoming.tmp";
const READY: &str = "incoming-";
const PARTS: [&str; 4] = ["snapshots", "log.mark", "log", "identity"];
/// What an empty folder may hold: the lock, and what is left of an attempt or made by a file system.
const NOTHING: [&str; 3] = ["lock", BUILDING, "lost+found"];

/// Makes the folder in which the new content is built; what an earlier attempt left is removed.
pub(crate) fn begin(dir: &DataDir, node: &str) -> Result<DataDir, StorageError> {
    let path = dir.path().join(BUILDING);
    if path.exists() {
        fs::remove_dir_all(&path).map_err(StorageError::io("remove", &path))?;
    }
    DataDir::open(&path, node)
}

/// Makes what was built, of this cluster, the content of the folder. All stores in it must be closed.
pub(crate) fn publish(dir: &DataDir, built: DataDir, cluster: ClusterId) -> Result<(), StorageError> {
    let path = built.path().to_owned();
    drop(built);
    let lock = path.join("lock");
    fs::remove_file(&lock).map_err(StorageError::io("remove", &lock))?;
    atomic_file::sync_dir(&path)?;
    atomic_file::publish(&path, &dir.path().join(format!("{READY}{cluster}")))?;
    finish(dir.path())
}

/// Goes on with a replacement that was begun, if one was. The folder must be locked.
pub(super) fn finish(folder: &Path) -> Result<(), StorageError> {
    for name in names(folder)? {
        if let Some(cluster) = name.strip_prefix(READY) {
            replace(folder, &folder.join(&name), &archive_path(folder, cluster))?;
        }
    }
    Ok(())
}

fn replace(folder: &Path, incoming: &Path, archive: &Path) -> Result<(), StorageError> {
    for part in PARTS {
        let (new, current) = (incoming.join(part), folder.join(part));
        if !new.exists() {
            continue;
        }
        if current.exists() {
            data_dir::create_inside(archive)?;
            rename(&current, &archive.join(part))?;
            atomic_file::sync_dir(archive)?;
        }
        rename(&new, &current)?;
        atomic_file::sync_dir(folder)?;
    }
    fs::remove_dir_all(incoming).map_err(StorageError::io("remove", incoming))?;
    atomic_file::sync_dir(folder)
}

/// What else is in a folder that should be empty; `None`: it is.
pub(crate) fn stranger(dir: &DataDir) -> Result<Option<PathBuf>, StorageError> {
    let names = names(dir.path())?;
    Ok(names.into_iter().find(|name| !NOTHING.contains(&name.as_str())).map(|name| dir.path().join(name)))
}

/// The folder that keeps what was replaced by the content of this cluster, if anything was.
pub(crate) fn archive(dir: &DataDir, cluster: ClusterId) -> Option<PathBuf> {
    Some(archive_path(dir.path(), &cluster.to_string())).filter(|path| path.is_dir())
}

fn archive_path(folder: &Path, cluster: &str) -> PathBuf {
    folder.join(format!("before-{cluster}"))
}

fn names(folder: &Path) -> Result<Vec<String>, StorageError> {
    let listed = fs::read_dir(folder).and_then(|names| names.collect::<Result<Vec<_>, io::Error>>());
    let names = listed.map_err(StorageError::io("list", folder))?;
    Ok(names.iter().map(|name| name.file_name().to_string_lossy().into_owned()).collect())
}

fn rename(from: &Path, to: &Path) -> Result<(), StorageError> {
    fs::rename(from, to).map_err(StorageError::io("rename", from))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId(7);

    fn fill(dir: &DataDir, content: &str) {
        for part in ["snapshots", "log"] {
            fs::create_dir(dir.path().join(part)).unwrap();
            fs::write(dir.path().join(part).join("file"), content).unwrap();
        }
        fs::write(dir.mark_path(), content).unwrap();
        fs::write(dir.identity_path(), content).unwrap();
    }

    fn content(folder: &Path) -> [String; 4] {
        let read = |path: &str| fs::read_to_string(folder.join(path)).unwrap();
        ["snapshots/file", "log/file", "log.mark", "identity"].map(read)
    }

    #[test]
    fn whenever_the_process_ends_the_next_one_finishes() {
        // After each number of renames, as if the process had been killed there.
        for moved in 0..=PARTS.len() * 2 {
            let root = tempfile::tempdir().unwrap();
            let dir = DataDir::open(root.path(), "n1").unwrap();
            let folder = dir.path().to_owned();
            fill(&dir, "old");
            fill(&begin(&dir, "n1").unwrap(), "new");
            drop(dir);
            let (ready, archive) =
                (folder.join(format!("{READY}{CLUSTER}")), archive_path(&folder, &CLUSTER.to_string()));
            fs::rename(folder.join(BUILDING), &ready).unwrap();
            for step in 0..moved {
                let part = PARTS[step / 2];
                fs::create_dir_all(&archive).unwrap();
                match step % 2 {
                    0 => fs::rename(folder.join(part), archive.join(part)).unwrap(),
                    _ => fs::rename(ready.join(part), folder.join(part)).unwrap(),
                }
            }
            let dir = DataDir::open(&folder, "n1").unwrap();
            assert_eq!(content(dir.path()), ["new"; 4], "after {moved} steps");
            assert_eq!(content(&archive), ["old"; 4], "after {moved} steps");
            assert!(!ready.exists());
        }
    }

    #[test]
    fn what_was_not_complete_means_nothing() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path(), "n1").unwrap();
        fill(&dir, "old");
        fill(&begin(&dir, "n1").unwrap(), "new");
        drop(dir);
        let dir = DataDir::open(root.path(), "n1").unwrap();
        assert_eq!(content(dir.path()), ["old"; 4]);
        let again = begin(&dir, "n1").unwrap();
        assert!(stranger(&again).unwrap().is_none(), "an earlier attempt was not removed");
    }

    #[test]
    fn an_empty_folder_is_told_from_one_that_is_not() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path(), "n1").unwrap();
        fs::create_dir(root.path().join("lost+found")).unwrap();
        assert!(stranger(&dir).unwrap().is_none());
        fs::write(root.path().join("notes"), "mine").unwrap();
        assert!(stranger(&dir).unwrap().unwrap().ends_with("notes"));
    }
}
