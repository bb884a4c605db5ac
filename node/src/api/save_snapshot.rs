//! `SaveSnapshot`: a backup, from its manifest to its last byte.

use std::io::{self, Read};

use bytes::Bytes;
use rollcall_proto::api::{SaveSnapshotRequest, SaveSnapshotResponse, SnapshotManifest};
use rollcall_registry::backup::{Backup, Freshness, Manifest, SaveError};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::status::Refusal;
use crate::{
    cluster::Cluster,
    limits::{BACKUP_PART_BYTES, BACKUP_PARTS_AHEAD},
};

/// The parts of a backup.
pub(super) type Parts = ReceiverStream<Result<SaveSnapshotResponse, Status>>;

/// Makes a backup, and reads it as fast as it is taken.
///
/// # Errors
/// See [`SaveError`].
pub(super) async fn open<C: Cluster>(cluster: &C, request: &SaveSnapshotRequest) -> Result<Parts, Refusal> {
    let freshness = if request.stale { Freshness::Stale } else { Freshness::Linearizable };
    let backup = cluster.save(freshness).await?;
    let (sender, parts) = mpsc::channel(BACKUP_PARTS_AHEAD);
    tokio::task::spawn_blocking(move || send(backup, &sender));
    Ok(ReceiverStream::new(parts))
}

fn send(backup: Backup, parts: &mpsc::Sender<Result<SaveSnapshotResponse, Status>>) {
    let manifest = Some(manifest(backup.manifest(), backup.file_bytes()));
    let mut next = Ok(SaveSnapshotResponse { manifest, data: Bytes::new() });
    let mut file = backup.into_reader();
    // Whoever does not listen any more has what they wanted, or has gone.
    while parts.blocking_send(next).is_ok() {
        next = match read(&mut file) {
            Ok(data) if data.is_empty() => return,
            Ok(data) => Ok(SaveSnapshotResponse { manifest: None, data }),
            Err(error) => Err(Refusal::from(SaveError::Snapshot(error.to_string())).into()),
        };
    }
}

fn read(file: &mut impl Read) -> io::Result<Bytes> {
    let mut data = Vec::with_capacity(BACKUP_PART_BYTES);
    file.take(BACKUP_PART_BYTES as u64).read_to_end(&mut data)?;
    Ok(data.into())
}

fn manifest(manifest: &Manifest, file_bytes: u64) -> SnapshotManifest {
    SnapshotManifest {
        format: manifest.format(),
        cluster_id: manifest.cluster().to_string(),
        index: manifest.index().0,
        term: manifest.term(),
        voters: manifest.voters(),
        learners: manifest.learners(),
        nodes: manifest.nodes(),
        devices: manifest.devices(),
        sessions: manifest.sessions(),
        created_at: manifest.created_at().map(Into::into),
        version: manifest.version().to_owned(),
        saved_by: manifest.saved_by().to_owned(),
        file_bytes,
        sha256: manifest.sha256().iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}
