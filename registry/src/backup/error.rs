//! Why a backup was not made, or nothing was made of one. The texts are for people and say what to do.

use std::path::PathBuf;

use thiserror::Error;

use crate::{codec::CodecError, handle::ReadError, model::snapshot::RestoreError, storage::StorageError};

/// Why a node makes no backup.
#[derive(Debug, Error)]
pub enum SaveError {
    /// The node belongs to no cluster yet.
    #[error("this node belongs to no cluster yet")]
    NoCluster,
    /// The leader did not confirm that this node has everything.
    #[error("{0}; a stale backup needs no leader, and may lack the last changes")]
    Read(#[from] ReadError),
    /// As many backups as a node makes at once are being made.
    #[error("this node makes as many backups as it can at once")]
    Busy,
    /// Raft could not build the snapshot.
    #[error("the snapshot could not be built: {0}")]
    Build(String),
    /// The snapshot cannot be read back.
    #[error("the snapshot cannot be read: {0}")]
    Snapshot(String),
}

/// Why a backup, or the folder that it is for, cannot be used.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The file system, or what it holds.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The file is not what was saved.
    #[error("the backup {path} is damaged: {flaw}; use another one", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The folder that is to be restored into holds something.
    #[error(
        "{folder} is not empty, it holds {found}: a backup is restored only into an empty folder",
        folder = folder.display(),
        found = found.display()
    )]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
        /// What it holds, among other things.
        found: PathBuf,
    },
    /// The folder is none of a member of a cluster.
    #[error("{folder} holds no member of a cluster: there is nothing to recover", folder = folder.display())]
    NoMember {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder's log does not go on where its snapshot ends.
    #[error("the log of {folder} {problem}", folder = folder.display())]
    Log {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// So many restores that epochs or ids have no room left.
    #[error("the cluster's {0} are used up")]
    Exhausted(&'static str),
}

/// What is wrong with a backup.
#[derive(Debug, Error)]
pub enum Flaw {
    /// It does not begin as backups do.
    #[error("it is no backup, or its beginning is lost")]
    NoBackup,
    /// Its head.
    #[error("its head cannot be read: {0}")]
    Head(String),
    /// Its manifest.
    #[error("its manifest cannot be read: {0}")]
    Manifest(#[from] CodecError),
    /// It is too short or too long.
    #[error("it has {found} bytes, {expected} were saved")]
    Length {
        /// As saved.
        expected: u64,
        /// As found.
        found: u64,
    },
    /// Its body is not what was saved.
    #[error("the SHA-256 of its body is not the one that was saved")]
    Checksum,
    /// A record.
    #[error(transparent)]
    Records(#[from] RestoreError),
    /// Its records are not those that it says it has.
    #[error("its {0} are not as many as it says")]
    Counts(&'static str),
}
