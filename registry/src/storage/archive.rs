//! Puts the data of a removed node aside, so that its folder can hold a new one.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{DataDir, StorageError, atomic_file, identity};

/// Moves everything of a node that was removed into `removed-<node id>-<seconds since 1970>` inside its folder, and says
/// where; `None`: the folder is of no removed node.
///
/// Inside, because the folder itself may be a mount point. The identity goes last: after a crash the next start goes on.
/// Nothing is deleted; whoever needs the room may delete the archive.
///
/// # Errors
/// I/O; a damaged identity.
pub fn archive_removed(dir: &DataDir) -> Result<Option<PathBuf>, StorageError> {
    let Some(identity) = identity::load(dir)?.filter(|identity| identity.removed) else {
        return Ok(None);
    };
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let archive = free_name(dir.path(), &format!("removed-{}-{seconds}", identity.node_id));
    fs::create_dir(&archive).map_err(StorageError::io("create", &archive))?;
    atomic_file::sync_dir(dir.path())?;
    for path in [dir.log_path(), dir.mark_path(), dir.snapshots_path(), dir.identity_path()] {
        move_into(&path, &archive)?;
    }
    Ok(Some(archive))
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

    fn folder(removed: bool) -> (tempfile::TempDir, DataDir) {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path(), "n1").unwrap();
        let identity = NodeIdentity { name: "n1".to_owned(), node_id: 7, removed, ..NodeIdentity::default() };
        identity::save(&dir, &identity).unwrap();
        fs::create_dir(dir.log_path()).unwrap();
        fs::write(dir.log_path().join("db"), b"entries").unwrap();
        (folder, dir)
    }

    #[test]
    fn the_data_of_a_removed_node_is_put_aside_whole() {
        let (_folder, dir) = folder(true);
        let archive = archive_removed(&dir).unwrap().expect("nothing was put aside");
        assert_eq!(fs::read(archive.join("log").join("db")).unwrap(), b"entries");
        assert!(archive.join("identity").exists());
        assert!(identity::load(&dir).unwrap().is_none() && !dir.log_path().exists());
        assert!(archive_removed(&dir).unwrap().is_none(), "an empty folder was put aside");
    }

    #[test]
    fn the_data_of_a_member_stays() {
        let (_folder, dir) = folder(false);
        assert!(archive_removed(&dir).unwrap().is_none());
        assert!(dir.log_path().join("db").exists());
    }

    #[test]
    fn what_a_crash_left_is_put_aside_at_the_next_start() {
        let (_folder, dir) = folder(true);
        fs::remove_dir_all(dir.log_path()).unwrap();
        let archive = archive_removed(&dir).unwrap().expect("nothing was put aside");
        assert!(archive.join("identity").exists() && identity::load(&dir).unwrap().is_none());
    }
}
