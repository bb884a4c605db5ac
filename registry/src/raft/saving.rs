//! A snapshot at a given index, for a backup.

use super::{Seated, Snapshots, consensus::LeaderError};
use crate::{model::ids::LogIndex, storage::SnapshotFile};

/// This node's newest snapshot, once it includes this entry, which must be applied. Has it built if necessary; the node
/// works on meanwhile.
///
/// # Errors
/// [`LeaderError::Stopped`], or [`LeaderError::Unknown`] if it takes longer than
/// [`BACKUP_BUILD_PATIENCE`](crate::limits::BACKUP_BUILD_PATIENCE).
pub(crate) async fn snapshot_at(
    seated: &Seated,
    snapshots: &Snapshots,
    index: LogIndex,
) -> Result<SnapshotFile, LeaderError> {
    seated.leader.consensus.snapshot_of(index.0).await?;
    snapshots.newest().ok_or_else(|| LeaderError::Unknown("the snapshot is gone".to_owned()))
}
