//! Puts the data of a removed node aside, or deletes that of one that left, so that its folder can hold a new one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{DataDir, StorageError, atomic_file, identity};

/// What became of the data of a node that is a member no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutAside {
    /// It was removed: all of it is in this folder.
    Archived(PathBuf),
    /// It had left by itself: it is deleted.
    Deleted,
}

/// Moves everything of a node that was removed into `removed-<node id>-<seconds since 1970>` inside its folder, and deletes
/// everything of one that left by itself; `None`: the folder is of neither.
///
/// Inside, because the folder itself may be a mount point. The identity goes last: after a crash the next start goes on.
/// No archive is deleted; whoever needs the room may do it.
///
/// # Errors
/// I/O; a damaged identity.
pub fn put_aside_removed(dir: &DataDir) -> Result<Option<PutAside>, StorageError> {
    let Some(identity) = identity::load(dir)?.filter(|identity| identity.removed) else {
        return Ok(None);
    };
    if identity.left {
        everything(dir).iter().try_for_each(|path| delete(path))?;
        return Ok(Some(PutAside::Deleted));
    }
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let archive = free_name(dir.path(), &format!("removed-{}-{seconds}", identity.node_id));
    fs::create_dir(&archive).map_err(StorageError::io("create", &archive))?;
    atomic_file::sync_dir(dir.path())?;
    everything(dir).iter().try_for_each(|path| move_into(path, &archive))?;
    Ok(Some(PutAside::Archived(archive)))
}

/// In the order in which it goes.
fn everything(dir: &DataDir) -> [PathBuf; 4] {
    [dir.log_path(), dir.mark_path(), dir.snapshots_path(), dir.identity_path()]
}

fn delete(path: &Path) -> Result<(), StorageError> {
    let deleted = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match deleted {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StorageError::io("delete what is left of", path)(error))
        }
        _ => atomic_file::sync_dir(path.parent().unwrap_or(path)),
    }
}

/// A name that is not taken: two removals within a second are unlikely, and must not overwrite each other.
fn free_name(folder: &Path, name: &str) -> PathBuf {
    let numbered = (0..).map(|number| match number {
        0 => folder.join(name),
        _ => folder.join(format!("{name}.{number}")),
    });
    numbered.into_iter().find(|path| !path.exists()).unwrap_or_else(|| folder.join(name))
}

fn move_into(path: &Path, archive: &Path) -> Result<(), StorageError> {
    let (Some(name), true) = (path.file_name(), path.exists()) else {
        return Ok(());
    };
    fs::rename(path, archive.join(name)).map_err(StorageError::io("move into the archive", path))?;
    atomic_file::sync_dir(archive)?;
    atomic_file::sync_dir(path.parent().unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use rollcall_proto::storage::NodeIdentity;

    use super::*;

    fn folder(removed: bool, left: bool) -> (tempfile::TempDir, DataDir) {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path(), "n1").unwrap();
        let identity =
            NodeIdentity { name: "n1".to_owned(), node_id: 7, removed, left, ..NodeIdentity::default() };
        identity::save(&dir, &identity).unwrap();
        fs::create_dir(dir.log_path()).unwrap();
        fs::write(dir.log_path().join("db"), b"entries").unwrap();
        (folder, dir)
    }

    #[test]
    fn the_data_of_a_removed_node_is_put_aside_whole() {
        let (_folder, dir) = folder(true, false);
        let archive = archived(&dir);
        assert_eq!(fs::read(archive.join("log").join("db")).unwrap(), b"entries");
        assert!(archive.join("identity").exists());
        assert!(identity::load(&dir).unwrap().is_none() && !dir.log_path().exists());
        assert!(put_aside_removed(&dir).unwrap().is_none(), "an empty folder was put aside");
    }

    fn archived(dir: &DataDir) -> PathBuf {
        match put_aside_removed(dir).unwrap() {
            Some(PutAside::Archived(archive)) => archive,
            other => panic!("it was not archived: {other:?}"),
        }
    }

    #[test]
    fn the_data_of_a_node_that_left_is_deleted_and_an_older_archive_stays() {
        let (folder, dir) = folder(true, true);
        fs::create_dir(folder.path().join("removed-3-1")).unwrap();
        assert_eq!(put_aside_removed(&dir).unwrap(), Some(PutAside::Deleted));
        assert!(identity::load(&dir).unwrap().is_none() && !dir.log_path().exists());
        assert!(folder.path().join("removed-3-1").exists());
        assert!(put_aside_removed(&dir).unwrap().is_none(), "it is an empty folder now");
    }

    #[test]
    fn the_data_of_a_member_stays() {
        let (_folder, dir) = folder(false, false);
        assert!(put_aside_removed(&dir).unwrap().is_none());
        assert!(dir.log_path().join("db").exists());
    }

    #[test]
    fn what_a_crash_left_is_put_aside_at_the_next_start() {
        let (_folder, dir) = folder(true, false);
        fs::remove_dir_all(dir.log_path()).unwrap();
        let archive = archived(&dir);
        assert!(archive.join("identity").exists() && identity::load(&dir).unwrap().is_none());
    }
}
