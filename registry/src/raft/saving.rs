//! A snapshot at a given index, for a backup.

use tokio::time::{Instant, timeout};

use super::{Seated, Snapshots, consensus::LeaderError};
use crate::{
    limits::{BACKUP_ASK_AGAIN, BACKUP_BUILD_PATIENCE},
    model::ids::LogIndex,
    storage::SnapshotFile,
};

/// This node's newest snapshot, once it includes this entry, which must be applied. Has it built if necessary; the node
/// works on meanwhile.
///
/// # Errors
/// [`LeaderError::Stopped`], or [`LeaderError::Unknown`] if it takes longer than [`BACKUP_BUILD_PATIENCE`].
pub(crate) async fn snapshot_at(
    seated: &Seated,
    snapshots: &Snapshots,
    index: LogIndex,
) -> Result<SnapshotFile, LeaderError> {
    let raft = &seated.leader.consensus.raft;
    let deadline = Instant::now() + BACKUP_BUILD_PATIENCE;
    let mut metrics = raft.metrics();
    loop {
        if let Some(file) = snapshots.newest().filter(|file| file.at().index >= index.0) {
            return Ok(file);
        }
        if Instant::now() >= deadline {
            return Err(LeaderError::Unknown("the snapshot was not built in time".to_owned()));
        }
        // While one is being built this does nothing; that one may have begun too early.
        let asked = raft.trigger().snapshot().await;
        asked.map_err(|fatal| LeaderError::Stopped(fatal.to_string()))?;
        let built = async {
            use openraft::async_runtime::watch::WatchReceiver;
            let before = metrics.borrow_watched().snapshot;
            while metrics.borrow_watched().snapshot == before {
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        // Either way the loop looks again.
        let _ = timeout(BACKUP_ASK_AGAIN, built).await;
    }
}
