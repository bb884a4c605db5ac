//! Making a backup: of a running registry, or of any body of records.

use std::{
    io::{self, BufReader, Cursor, Read},
    time::SystemTime,
};

use bytes::Bytes;
use rollcall_proto::storage;
use tokio::sync::OwnedSemaphorePermit;

use super::{Manifest, SaveError, body::Hashing, file, manifest::FORMAT, survey::Survey};
use crate::{
    codec::CodecError,
    handle::Registrar,
    limits::BACKUP_APPLY_PATIENCE,
    model::snapshot::{RestoreError, SnapshotView},
    raft,
    registry::Registry,
    storage::{SnapshotFile, StoredLogId},
};

/// How much a backup must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Everything that was acknowledged before it was asked for.
    Linearizable,
    /// What the node has.
    Stale,
}

/// What a backup cannot tell from its records.
#[derive(Debug, Clone)]
pub struct About {
    /// The last log entry in it.
    pub last_log_id: StoredLogId,
    /// The voters and learners at that point.
    pub membership: storage::Membership,
    /// When it is made.
    pub created_at: SystemTime,
    /// The version of Rollcall that makes it.
    pub version: String,
    /// The node that makes it.
    pub saved_by: String,
}

/// A backup that is ready to be written.
pub struct Backup {
    manifest: Manifest,
    head: Bytes,
    body: Box<dyn Read + Send>,
    permit: Option<OwnedSemaphorePermit>,
}

impl std::fmt::Debug for Backup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backup").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

impl Backup {
    /// A backup of the records that `body` opens; it is opened twice, and must give the same each time. Blocks: reads them
    /// once.
    ///
    /// # Errors
    /// They cannot be read, or have no cluster in them.
    pub fn of_records<R: Read + Send + 'static>(
        about: About,
        mut body: impl FnMut() -> io::Result<R>,
    ) -> Result<Self, RestoreError> {
        let mut reader = BufReader::new(Hashing::new(body()?));
        let survey = Survey::of(&mut reader)?;
        let cluster = survey.cluster.as_ref().map(|cluster| cluster.id).unwrap_or_default();
        let (body_bytes, sha256) = reader.into_inner().finish();
        let at = about.last_log_id;
        let manifest = Manifest::from_proto(storage::BackupManifest {
            format: FORMAT,
            cluster_id: cluster.to_bytes().to_vec().into(),
            last_log_id: Some(storage::LogId { term: at.term, leader: at.leader, index: at.index }),
            membership: Some(about.membership),
            records: survey.records,
            nodes: survey.nodes,
            devices: survey.devices,
            sessions: survey.sessions,
            created_at: Some(about.created_at.into()),
            version: about.version,
            saved_by: about.saved_by,
            body_bytes,
            body_sha256: sha256.to_vec().into(),
        });
        let manifest = manifest.map_err(|source: CodecError| RestoreError::Record { record: 0, source })?;
        let head = file::head(&manifest);
        Ok(Self { manifest, head, body: Box::new(body()?), permit: None })
    }

    /// A backup of a state, held in memory. Blocks.
    ///
    /// # Errors
    /// As [`Self::of_records`].
    pub fn of_view(about: About, view: &SnapshotView) -> Result<Self, RestoreError> {
        let mut body = Vec::new();
        view.write(&mut body)?;
        let body = Bytes::from(body);
        Self::of_records(about, move || Ok(Cursor::new(body.clone())))
    }

    /// What it holds.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// How long the file is.
    pub fn file_bytes(&self) -> u64 {
        self.head.len() as u64 + self.manifest.body_bytes()
    }

    /// The file, from its first byte to its last. Reading blocks.
    pub fn into_reader(self) -> impl Read + Send {
        Counted { file: Cursor::new(self.head).chain(self.body), _permit: self.permit }
    }
}

/// Gives its place among the backups of the node back when it is dropped.
struct Counted<R> {
    file: R,
    _permit: Option<OwnedSemaphorePermit>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Registry {
    /// Makes a backup, of a snapshot that is built for it while the registry works on.
    ///
    /// # Errors
    /// See [`SaveError`].
    ///
    /// # Cancel safety
    /// Safe; the snapshot is built all the same.
    pub async fn save(&self, freshness: Freshness) -> Result<Backup, SaveError> {
        let permit = self.inner.backups.clone().try_acquire_owned().map_err(|_taken| SaveError::Busy)?;
        let seated = self.inner.seated.get().ok_or(SaveError::NoCluster)?;
        let index = match freshness {
            Freshness::Linearizable => self.read_index().await?,
            Freshness::Stale => self.routes().applied_index(),
        };
        self.wait_applied(index, BACKUP_APPLY_PATIENCE).await?;
        if self.routes().cluster_id().is_none() {
            return Err(SaveError::NoCluster);
        }
        let file = raft::snapshot_at(seated, &self.inner.snapshots, index).await;
        let file = file.map_err(|error| SaveError::Build(error.to_string()))?;
        let (version, saved_by) = (self.inner.config.version.clone(), self.inner.folder.name().to_owned());
        let made = tokio::task::spawn_blocking(move || of_snapshot(&file, version, saved_by)).await;
        let made = made.map_err(|panic| SaveError::Snapshot(panic.to_string()))?;
        let mut backup = made.map_err(|error| SaveError::Snapshot(error.to_string()))?;
        backup.permit = Some(permit);
        tracing::info!(index = %backup.manifest.index(), devices = backup.manifest.devices(), "a backup is made");
        Ok(backup)
    }
}

/// The file stays readable when a newer snapshot replaces it, because it is opened here.
fn of_snapshot(file: &SnapshotFile, version: String, saved_by: String) -> Result<Backup, RestoreError> {
    let (header, first) = raft::snapshot::open_records(file)?;
    let mut readers = vec![raft::snapshot::open_records(file)?.1, first];
    let about = About {
        last_log_id: file.at(),
        membership: header.membership.unwrap_or_default(),
        created_at: SystemTime::now(),
        version,
        saved_by,
    };
    Backup::of_records(about, || {
        readers.pop().ok_or_else(|| io::Error::other("a body is opened twice, not more often"))
    })
}
