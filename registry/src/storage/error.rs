//! What can go wrong with what is on disk. Each error says, for people, what to do.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;

/// A fault of the storage. Cheap to clone: all that wait for the log's writer get the same one.
#[derive(Debug, Clone, Error)]
pub enum StorageError {
    /// The file system refused.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The file system's answer.
        source: Arc<io::Error>,
    },
    /// sled refused, or panicked.
    #[error("the log's engine failed: {0}")]
    Engine(String),
    /// Another process uses the data folder.
    #[error(
        "the data folder {path} is in use by another process: stop that one, or give this node a folder of its own",
        path = path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Something that was written is no longer what was written.
    #[error("{0}")]
    Damaged(Box<Damage>),
    /// A record is of a format that this version does not know.
    #[error(
        "{path} has format {found}, this version knows {known}: it was written by a newer version; start that one",
        path = path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this version knows.
        known: u32,
    },
    /// An entry is larger than [`crate::limits::LOG_ENTRY_BYTES`].
    #[error("a log entry has {bytes} bytes, at most {limit} are possible")]
    EntryTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Entries were appended that do not follow the last one.
    #[error("log entry {found} was appended where {expected} is next")]
    OutOfOrder {
        /// The index that is next.
        expected: u64,
        /// The index that came.
        found: u64,
    },
    /// The store failed before, with this error. Nothing is acknowledged any more; the process must stop.
    #[error("the log store has failed: {0}")]
    Poisoned(Arc<StorageError>),
    /// The store was closed.
    #[error("the log store is closed")]
    Closed,
}

impl StorageError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source: Arc::new(source) }
    }
}

impl From<sled::Error> for StorageError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(source) => {
                Self::Io { action: "use the files of", path: "the log".into(), source: Arc::new(source) }
            }
            other => Self::Engine(other.to_string()),
        }
    }
}

impl From<StorageError> for io::Error {
    fn from(error: StorageError) -> Self {
        Self::other(error)
    }
}

/// Something that was written is no longer what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What is damaged, such as "the log" or "the vote".
    pub part: String,
    /// How that shows.
    pub detail: String,
    /// The node that owns it.
    pub node: String,
    /// Its data folder.
    pub folder: PathBuf,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{part} of node {node} is damaged: {detail}. The node does not start, because it could break promises that \
             it made to its peers. Restore the folder {folder} from an exact copy, or remove node {node} from the \
             cluster and start it with an empty folder",
            part = self.part,
            detail = self.detail,
            node = self.node,
            folder = self.folder.display()
        )
    }
}
