//! Changes of devices for those who watch, from a cursor on: a bounded history in memory.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::watch as tokio_watch;

use crate::{
    handle::ApplyObserver,
    limits::{WATCH_AHEAD, WATCH_HISTORY},
    model::{
        event::Event,
        ids::{ClusterId, LogIndex},
    },
    routes::Routes,
};

/// A point in the stream of changes; compares only within one cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The cluster.
    pub cluster: ClusterId,
    /// The entry of the last change seen.
    pub index: LogIndex,
    /// The position of that change in the entry.
    pub position: u32,
}

/// A change, and where to go on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchItem {
    /// After this change.
    pub cursor: Cursor,
    /// What changed.
    pub event: Event,
}

/// Why a watch cannot begin or go on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WatchError {
    /// The history no longer reaches back that far, or a snapshot took its place: list, then watch from there.
    #[error(
        "changes after index {asked} are gone; the oldest kept is {oldest}: list again, then watch from there"
    )]
    TooOld {
        /// The index asked for.
        asked: LogIndex,
        /// The oldest index from which a watch can begin.
        oldest: LogIndex,
    },
    /// The cursor belongs to another cluster.
    #[error("the cursor belongs to another cluster")]
    OtherCluster,
    /// The node stops.
    #[error("the node stops")]
    Stopping,
}

/// The latest changes. One per node, shared by all watchers.
#[derive(Clone)]
pub(crate) struct WatchHistory {
    kept: Arc<Mutex<Kept>>,
    newest: tokio_watch::Sender<LogIndex>,
}

struct Kept {
    changes: VecDeque<(LogIndex, u32, Event)>,
    /// Everything after this point is kept: a watch may begin here.
    complete_after: (LogIndex, u32),
}

impl Kept {
    fn reaches_back_to(&self, after: (LogIndex, u32)) -> Result<(), WatchError> {
        if after < self.complete_after {
            return Err(WatchError::TooOld { asked: after.0, oldest: self.complete_after.0 });
        }
        Ok(())
    }
}

impl WatchHistory {
    pub(crate) fn new() -> Self {
        let (newest, _) = tokio_watch::channel(LogIndex(0));
        let kept = Kept { changes: VecDeque::new(), complete_after: (LogIndex(0), 0) };
        Self { kept: Arc::new(Mutex::new(kept)), newest }
    }

    /// Begins after `after`, or now. `routes` gives the cluster and the present.
    pub(crate) fn watch(&self, after: Option<Cursor>, routes: &Routes) -> Result<Watch, WatchError> {
        let cluster = routes.cluster_id().ok_or(WatchError::Stopping)?;
        let newest = self.newest.subscribe();
        let after = match after {
            Some(cursor) if cursor.cluster != cluster => return Err(WatchError::OtherCluster),
            Some(cursor) => (cursor.index, cursor.position),
            None => (routes.applied_index(), u32::MAX),
        };
        self.kept.lock().reaches_back_to(after)?;
        Ok(Watch { history: self.clone(), newest, cluster, after, ahead: VecDeque::new() })
    }
}

impl ApplyObserver for WatchHistory {
    fn applied(&self, index: LogIndex, events: &[Event]) {
        {
            let mut kept = self.kept.lock();
            for (position, event) in (0..).zip(events) {
                if concerns_devices(event) {
                    kept.changes.push_back((index, position, event.clone()));
                }
            }
            while kept.changes.len() > WATCH_HISTORY {
                if let Some((index, position, _)) = kept.changes.pop_front() {
                    kept.complete_after = (index, position);
                }
            }
        }
        self.newest.send_replace(index);
    }

    fn snapshot_installed(&self, index: LogIndex) {
        {
            let mut kept = self.kept.lock();
            kept.changes.clear();
            kept.complete_after = (index, u32::MAX);
        }
        self.newest.send_replace(index);
    }
}

fn concerns_devices(event: &Event) -> bool {
    match event {
        Event::Opened { .. }
        | Event::Closed { .. }
        | Event::Updated { .. }
        | Event::Created { .. }
        | Event::Changed { .. }
        | Event::Removed { .. }
        | Event::NodeDown { .. } => true,
        Event::NodeUp { .. } | Event::NodeAdmitted { .. } | Event::BatchApplied(_) => false,
    }
}

/// Changes, one after the other.
pub struct Watch {
    history: WatchHistory,
    newest: tokio_watch::Receiver<LogIndex>,
    cluster: ClusterId,
    after: (LogIndex, u32),
    /// Taken from the history, not yet returned.
    ahead: VecDeque<WatchItem>,
}

impl Watch {
    /// The next change; waits for it.
    ///
    /// # Errors
    /// [`WatchError::TooOld`] when the watcher fell too far behind.
    ///
    /// # Cancel safety
    /// Nothing is lost: what was not returned comes again.
    pub async fn next(&mut self) -> Result<WatchItem, WatchError> {
        loop {
            if let Some(item) = self.ahead.pop_front() {
                return Ok(item);
            }
            self.newest.mark_unchanged();
            self.take()?;
            if self.ahead.is_empty() {
                self.newest.changed().await.map_err(|_| WatchError::Stopping)?;
            }
        }
    }

    /// Copies some changes out of the history, so that its lock is taken once for many.
    fn take(&mut self) -> Result<(), WatchError> {
        let kept = self.history.kept.lock();
        kept.reaches_back_to(self.after)?;
        let from = kept.changes.partition_point(|(index, position, _)| (*index, *position) <= self.after);
        let cursor = |index, position| Cursor { cluster: self.cluster, index, position };
        self.ahead = kept
            .changes
            .range(from..)
            .take(WATCH_AHEAD)
            .map(|(index, position, event)| WatchItem {
                cursor: cursor(*index, *position),
                event: event.clone(),
            })
            .collect();
        drop(kept);
        if let Some(last) = self.ahead.back() {
            self.after = (last.cursor.index, last.cursor.position);
        }
        Ok(())
    }
}
