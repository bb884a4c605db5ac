//! Building a snapshot now, and giving up the log that it stands for, instead of when enough entries have come together.

use openraft::async_runtime::watch::WatchReceiver;

use super::consensus::{Consensus, LeaderError};
use crate::{model::ids::LogIndex, registry::Registry};

impl Registry {
    /// Builds a snapshot of what this node has applied, and purges its log up to there; returns the snapshot's index.
    ///
    /// Nodes that lack purged entries then get the snapshot.
    ///
    /// # Errors
    /// For people: this node has no place in a cluster, or consensus has stopped.
    ///
    /// # Cancel safety
    /// The snapshot is built all the same.
    pub async fn compact_log(&self) -> Result<LogIndex, String> {
        let seated = self.inner.seated.get().ok_or("this node belongs to no cluster yet")?;
        seated.leader.consensus.compact().await.map_err(|error| error.to_string())
    }
}

impl Consensus {
    async fn compact(&self) -> Result<LogIndex, LeaderError> {
        let stopped = |reason: String| LeaderError::Stopped(reason);
        let applied = self.metrics().last_applied.map_or(0, |applied| applied.index);
        self.raft.trigger().snapshot().await.map_err(|fatal| stopped(fatal.to_string()))?;
        let index = self.has_snapshot(applied).await?;
        self.raft.trigger().purge_log(index).await.map_err(|fatal| stopped(fatal.to_string()))?;
        Ok(LogIndex(index))
    }

    /// Waits for a snapshot of at least this index; returns its index.
    async fn has_snapshot(&self, wanted: u64) -> Result<u64, LeaderError> {
        let mut metrics = self.raft.metrics();
        loop {
            let built = metrics.borrow_watched().snapshot.as_ref().map(|at| at.index);
            if let Some(index) = built.filter(|index| *index >= wanted) {
                return Ok(index);
            }
            metrics.changed().await.map_err(|_| LeaderError::Stopped("it is gone".to_owned()))?;
        }
    }
}
