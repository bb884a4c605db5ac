//! A new cluster from a backup, in an empty folder.

use std::path::PathBuf;

use super::{BackupError, BackupFile, NewCluster, new_cluster::Origin};
use crate::{
    model::command::Addresses,
    storage::{DataDir, StoredLogId, incoming},
};

/// Where a backup is restored.
#[derive(Debug, Clone)]
pub struct Place {
    /// The data folder, empty or not there yet.
    pub data_dir: PathBuf,
    /// The name of its node.
    pub name: String,
    /// Where other nodes reach it. May be empty: the node says so itself when it starts.
    pub peer_addr: String,
}

/// Makes a new cluster of one voter from a backup: with its devices, without its sessions and nodes. Blocks.
///
/// Other nodes join it with empty folders. When the process ends before this returns, the folder is empty or complete.
///
/// # Errors
/// The folder is not empty, or in use; the file system's.
pub fn restore(backup: &BackupFile, place: &Place) -> Result<NewCluster, BackupError> {
    let dir = DataDir::open(&place.data_dir, &place.name)?;
    if let Some(found) = incoming::stranger(&dir)? {
        return Err(BackupError::NotEmpty { folder: dir.path().to_owned(), found });
    }
    let at = backup.manifest().to_proto().last_log_id.unwrap_or_default();
    let origin = Origin {
        survey: backup.survey(),
        last_log_id: StoredLogId { term: at.term, leader: at.leader, index: at.index },
        name: &place.name,
        addresses: Addresses { peer: place.peer_addr.clone(), ..Addresses::default() },
    };
    let folder = incoming::begin(&dir, &place.name)?;
    let new = origin.found(&folder, &mut backup.body()?)?;
    incoming::publish(&dir, folder, new.cluster)?;
    Ok(new)
}
