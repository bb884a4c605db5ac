//! Builds snapshots and gives the log up behind them, as [`super::compaction`] decides; and both at once, when asked.

use openraft::{async_runtime::watch::WatchReceiver, errors::Fatal};
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::{
    Snapshots,
    compaction::{LogBounds, LogSeen},
    consensus::{Consensus, LeaderError, Metrics},
    purge_floor::PurgeFloor,
    type_config::TypeConfig,
};
use crate::{
    limits::{BACKUP_ASK_AGAIN, BACKUP_BUILD_PATIENCE, COMPACT_EVERY},
    model::ids::LogIndex,
    registry::Registry,
    storage::NodeLog,
};

impl Registry {
    /// Builds a snapshot of what this node has applied, and gives its log up to there up; returns the snapshot's index once the
    /// entries are gone.
    ///
    /// Nodes that lack them get the snapshot then. A leader first lets a node that it is sending them notice that it will not get
    /// them: this takes a few seconds at most, however the node is.
    ///
    /// # Errors
    /// For people: this node has no place in a cluster, it takes too long, or consensus has stopped.
    ///
    /// # Cancel safety
    /// The snapshot is built all the same.
    pub async fn compact_log(&self) -> Result<LogIndex, String> {
        let seated = self.inner.seated.get().ok_or("this node belongs to no cluster yet")?;
        seated.compactor.compact().await.map_err(|error| error.to_string())
    }
}

/// Keeps the log within its bounds; cheap to clone.
#[derive(Clone)]
pub(super) struct Compactor {
    pub(super) consensus: Consensus,
    pub(super) log: NodeLog,
    pub(super) snapshots: Snapshots,
    pub(super) floor: PurgeFloor,
    pub(super) bounds: LogBounds,
}

impl Compactor {
    /// Runs until Raft stops.
    pub(super) async fn run(self) {
        let mut ticks = tokio::time::interval(COMPACT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut given_up = 0;
        while self.consensus.metrics().running_state.is_ok() {
            ticks.tick().await;
            match self.tick(given_up).await {
                Ok(upto) => given_up = upto,
                Err(error) => tracing::debug!(%error, "the log is not compacted any more"),
            }
        }
    }

    /// Builds a snapshot if one is due, and gives up what the newest one stands for, if that was not asked for yet.
    async fn tick(&self, given_up: u64) -> Result<u64, LeaderError> {
        let seen = self.look();
        if seen.wants_snapshot() {
            // While one is being built this does nothing.
            self.consensus.raft.trigger().snapshot().await.map_err(stopped)?;
        }
        let upto = seen.given_up(self.log.keeping(seen.snapshot, seen.bytes_kept()));
        if upto > given_up {
            self.give_up(upto).await?;
        }
        Ok(upto.max(given_up))
    }

    fn look(&self) -> LogSeen {
        let metrics = self.consensus.metrics();
        let applied = metrics.last_applied.map_or(0, |applied| applied.index);
        let snapshot = metrics.snapshot.map_or(0, |snapshot| snapshot.index);
        LogSeen {
            bounds: self.bounds,
            applied,
            snapshot,
            snapshot_bytes: self.snapshots.newest().map_or(0, |newest| newest.body_bytes()),
            bytes_since: self.log.bytes_between(snapshot, applied),
        }
    }

    /// A leader's log goes once nobody is being sent it any more, and the floor sees to that.
    async fn give_up(&self, upto: u64) -> Result<(), LeaderError> {
        self.floor.raise(upto);
        self.consensus.raft.trigger().purge_log(upto).await.map_err(stopped)
    }

    async fn compact(&self) -> Result<LogIndex, LeaderError> {
        let applied = self.consensus.metrics().last_applied.map_or(0, |applied| applied.index);
        let index = self.consensus.snapshot_of(applied).await?;
        self.give_up(index).await?;
        let purged = |metrics: &Metrics| metrics.purged.as_ref().is_some_and(|purged| purged.index >= index);
        let mut metrics = self.consensus.raft.metrics();
        let gone = async {
            while !purged(&metrics.borrow_watched()) {
                metrics.changed().await.map_err(|_| gone())?;
            }
            Ok(LogIndex(index))
        };
        let late = |_| LeaderError::Unknown("the log was not given up in time".to_owned());
        timeout(BACKUP_BUILD_PATIENCE, gone).await.map_err(late)?
    }
}

impl Consensus {
    /// Has a snapshot that includes this entry, which must be applied; returns its index. Built if necessary; the node works on
    /// meanwhile.
    ///
    /// # Errors
    /// [`LeaderError::Stopped`], or [`LeaderError::Unknown`] if it takes longer than [`BACKUP_BUILD_PATIENCE`].
    pub(super) async fn snapshot_of(&self, wanted: u64) -> Result<u64, LeaderError> {
        let deadline = Instant::now() + BACKUP_BUILD_PATIENCE;
        let mut metrics = self.raft.metrics();
        loop {
            let newest = metrics.borrow_watched().snapshot;
            if let Some(index) = newest.map(|at| at.index).filter(|index| *index >= wanted) {
                return Ok(index);
            }
            if Instant::now() >= deadline {
                return Err(LeaderError::Unknown("the snapshot was not built in time".to_owned()));
            }
            // While one is being built this does nothing; that one may have begun too early.
            self.raft.trigger().snapshot().await.map_err(stopped)?;
            let built = async {
                while metrics.borrow_watched().snapshot == newest && metrics.changed().await.is_ok() {}
            };
            // Either way the loop looks again.
            let _ = timeout(BACKUP_ASK_AGAIN, built).await;
        }
    }
}

fn stopped(fatal: Fatal<TypeConfig>) -> LeaderError {
    LeaderError::Stopped(fatal.to_string())
}

fn gone() -> LeaderError {
    LeaderError::Stopped("it is gone".to_owned())
}
