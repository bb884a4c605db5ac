//! The log that a node keeps: on sled, unless the node is simulated.

#[cfg(not(feature = "simulation"))]
pub(crate) use super::sled_log::SledLog as NodeLog;

#[cfg(feature = "simulation")]
pub(crate) use either::NodeLog;

#[cfg(feature = "simulation")]
mod either {
    use std::ops::Range;

    use crate::{
        simulation,
        storage::{
            Completion, DataDir, LogBackend, LogState, MemoryLog, SledLog, StorageError, StoredEntry,
            StoredLogId, StoredVote,
        },
    };

    /// A log on disk, or in the memory of a simulation.
    #[derive(Debug, Clone)]
    pub(crate) enum NodeLog {
        Sled(SledLog),
        Memory(MemoryLog),
    }

    impl NodeLog {
        pub(crate) fn open(dir: &DataDir) -> Result<Self, StorageError> {
            match simulation::log() {
                Some(log) => Ok(Self::Memory(log)),
                None => SledLog::open(dir).map(Self::Sled),
            }
        }

        pub(crate) async fn close(&self) -> Result<(), StorageError> {
            match self {
                Self::Sled(log) => log.close().await,
                // Whatever was acknowledged is on its disk.
                Self::Memory(_) => Ok(()),
            }
        }

        pub(crate) fn bytes_between(&self, after: u64, upto: u64) -> u64 {
            match self {
                Self::Sled(log) => log.bytes_between(after, upto),
                Self::Memory(log) => log.bytes_between(after, upto),
            }
        }

        pub(crate) fn keeping(&self, upto: u64, bytes: u64) -> u64 {
            match self {
                Self::Sled(log) => log.keeping(upto, bytes),
                Self::Memory(log) => log.keeping(upto, bytes),
            }
        }
    }

    impl LogBackend for NodeLog {
        fn state(&self) -> LogState {
            match self {
                Self::Sled(log) => log.state(),
                Self::Memory(log) => log.state(),
            }
        }

        fn vote(&self) -> Option<StoredVote> {
            match self {
                Self::Sled(log) => log.vote(),
                Self::Memory(log) => log.vote(),
            }
        }

        fn committed(&self) -> Option<StoredLogId> {
            match self {
                Self::Sled(log) => log.committed(),
                Self::Memory(log) => log.committed(),
            }
        }

        async fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<StoredEntry>, StorageError> {
            match self {
                Self::Sled(log) => log.read(range, max_bytes).await,
                Self::Memory(log) => log.read(range, max_bytes).await,
            }
        }

        async fn append(&self, entries: Vec<StoredEntry>, done: Completion) -> Result<(), StorageError> {
            match self {
                Self::Sled(log) => log.append(entries, done).await,
                Self::Memory(log) => log.append(entries, done).await,
            }
        }

        async fn save_vote(&self, vote: StoredVote) -> Result<(), StorageError> {
            match self {
                Self::Sled(log) => log.save_vote(vote).await,
                Self::Memory(log) => log.save_vote(vote).await,
            }
        }

        fn save_committed(&self, committed: Option<StoredLogId>) -> Result<(), StorageError> {
            match self {
                Self::Sled(log) => log.save_committed(committed),
                Self::Memory(log) => log.save_committed(committed),
            }
        }

        async fn truncate_after(&self, last: Option<StoredLogId>) -> Result<(), StorageError> {
            match self {
                Self::Sled(log) => log.truncate_after(last).await,
                Self::Memory(log) => log.truncate_after(last).await,
            }
        }

        async fn purge(&self, upto: StoredLogId) -> Result<(), StorageError> {
            match self {
                Self::Sled(log) => log.purge(upto).await,
                Self::Memory(log) => log.purge(upto).await,
            }
        }

        async fn poisoned(&self) -> StorageError {
            match self {
                Self::Sled(log) => log.poisoned().await,
                Self::Memory(log) => log.poisoned().await,
            }
        }
    }
}
