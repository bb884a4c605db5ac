//! What this node keeps on disk: its folder, its identity, the Raft log and the snapshots. The only place that names sled.
//!
//! What the log's entries mean does not live here: they are bytes. openraft's view of the log is
//! [`crate::raft::log_storage`].

mod archive;
mod atomic_file;
pub mod backend;
pub mod data_dir;
pub mod error;
pub mod identity;
pub(crate) mod incoming;
pub mod keyspaces;
pub mod memory;
mod node_log;
pub(crate) mod seal;
pub mod sled_log;
pub mod snapshot_store;
pub mod stored;
mod volume;

pub use archive::{PutAside, put_aside_removed};
pub use backend::{Completion, LogBackend};
pub use data_dir::DataDir;
pub use error::{Damage, StorageError};
pub use memory::{MemoryDisk, MemoryLog};
pub(crate) use node_log::NodeLog;
pub use sled_log::SledLog;
pub use snapshot_store::{SnapshotFile, SnapshotStore, SnapshotWriter};
pub use stored::{LogState, StoredEntry, StoredLogId, StoredVote};
