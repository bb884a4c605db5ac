//! Changes of devices for those who watch, from a cursor on: a bounded history in memory.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::watch as tokio_watch;

use super::lost::Lost;
use crate::{
    handle::ApplyObserver,
    limits::{WATCH_AHEAD, WATCH_HISTORY, WATCH_LOST_SESSIONS},
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

/// A change of a device, and where to go on from.
///
/// The end of a node's life is one [`Event::Closed`] for each of its sessions, in the order of namespace and device:
/// the same on every node, so that a watch goes on anywhere from within.
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
    routes: Routes,
    kept: Arc<Mutex<Kept>>,
    newest: tokio_watch::Sender<LogIndex>,
}

/// A point in the log: an entry, and a position in it.
type Point = (LogIndex, u32);

/// The last position of an entry.
const END: u32 = u32::MAX;

struct Kept {
    /// Each with the point of the last change that it stands for.
    changes: VecDeque<(Point, Change)>,
    /// Everything after this point is kept: a watch may begin here.
    complete_after: Point,
    /// In all of `changes`, of nodes that went down.
    lost: u64,
}

enum Change {
    One(Event),
    /// From position 0 on.
    Lost(Arc<Lost>),
}

impl Kept {
    fn reaches_back_to(&self, after: Point) -> Result<(), WatchError> {
        if after < self.complete_after {
            return Err(WatchError::TooOld { asked: after.0, oldest: self.complete_after.0 });
        }
        Ok(())
    }

    fn push(&mut self, point: Point, change: Change) {
        if let Change::Lost(lost) = &change {
            self.lost += lost.sessions();
        }
        self.changes.push_back((point, change));
        while self.changes.len() > WATCH_HISTORY || self.lost > WATCH_LOST_SESSIONS {
            let Some((point, change)) = self.changes.pop_front() else { return };
            if let Change::Lost(lost) = &change {
                self.lost -= lost.sessions();
            }
            self.complete_after = point;
        }
    }

    /// Forgets everything up to here.
    fn begin_after(&mut self, point: Point) {
        *self = Self { changes: VecDeque::new(), complete_after: point, lost: 0 };
    }
}

impl WatchHistory {
    /// An empty history. `routes`: what the log has made of the devices, as apply leaves it.
    pub(crate) fn new(routes: Routes) -> Self {
        let (newest, _) = tokio_watch::channel(LogIndex(0));
        let kept = Kept { changes: VecDeque::new(), complete_after: (LogIndex(0), 0), lost: 0 };
        Self { routes, kept: Arc::new(Mutex::new(kept)), newest }
    }

    /// Begins after `after`, or now.
    pub(crate) fn watch(&self, after: Option<Cursor>) -> Result<Watch, WatchError> {
        let cluster = self.routes.cluster_id().ok_or(WatchError::Stopping)?;
        let newest = self.newest.subscribe();
        let after = match after {
            Some(cursor) if cursor.cluster != cluster => return Err(WatchError::OtherCluster),
            Some(cursor) => (cursor.index, cursor.position),
            None => (self.routes.applied_index(), END),
        };
        self.kept.lock().reaches_back_to(after)?;
        Ok(Watch { history: self.clone(), newest, cluster, after, ahead: VecDeque::new() })
    }
}

impl ApplyObserver for WatchHistory {
    fn applied(&self, index: LogIndex, events: &[Event]) {
        // A node's end is all that its entry says of devices. What it takes along is looked up before the lock is taken.
        let ended = events.iter().find_map(|event| match event {
            Event::NodeDown { node, incarnation, sessions } if *sessions > 0 => {
                Some((*node, *incarnation, *sessions))
            }
            _ => None,
        });
        let kept_whole = ended.filter(|(_, _, sessions)| *sessions <= WATCH_LOST_SESSIONS);
        let lost = kept_whole.map(|(node, incarnation, sessions)| {
            Arc::new(Lost::gather(self.routes.held_by(node, incarnation), sessions))
        });
        {
            let mut kept = self.kept.lock();
            for (position, event) in (0..).zip(events).filter(|(_, event)| event.device().is_some()) {
                kept.push((index, position), Change::One(event.clone()));
            }
            match (lost, ended) {
                (Some(lost), _) => kept.push((index, END), Change::Lost(lost)),
                (None, Some(_)) => kept.begin_after((index, END)),
                (None, None) => {}
            }
        }
        self.newest.send_replace(index);
    }

    fn snapshot_installed(&self, index: LogIndex) {
        self.kept.lock().begin_after((index, END));
        self.newest.send_replace(index);
    }
}

/// Changes, one after the other.
pub struct Watch {
    history: WatchHistory,
    newest: tokio_watch::Receiver<LogIndex>,
    cluster: ClusterId,
    after: Point,
    /// Taken from the history, not yet returned.
    ahead: VecDeque<WatchItem>,
}

/// What a watch goes on with.
enum Next {
    Some(Vec<(Point, Event)>),
    /// The sessions that an entry ended, from this position on.
    Lost(LogIndex, Arc<Lost>, u32),
    Nothing,
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
            match self.look()? {
                Next::Some(changes) => self.take(changes),
                Next::Lost(index, lost, from) => {
                    let gone = WatchError::TooOld { asked: self.after.0, oldest: index };
                    let page = lost.page(from, WATCH_AHEAD).await.ok_or(gone)?;
                    if page.is_empty() {
                        self.after = (index, END);
                    }
                    let changes = (from..).zip(page).map(|(position, event)| ((index, position), event));
                    self.take(changes);
                }
                Next::Nothing => self.newest.changed().await.map_err(|_| WatchError::Stopping)?,
            }
        }
    }

    fn take(&mut self, changes: impl IntoIterator<Item = (Point, Event)>) {
        for ((index, position), event) in changes {
            self.after = (index, position);
            self.ahead
                .push_back(WatchItem { cursor: Cursor { cluster: self.cluster, index, position }, event });
        }
    }

    /// Copies some changes out of the history, so that its lock is taken once for many.
    fn look(&self) -> Result<Next, WatchError> {
        let kept = self.history.kept.lock();
        kept.reaches_back_to(self.after)?;
        let from = kept.changes.partition_point(|(point, _)| *point <= self.after);
        if let Some(((index, _), Change::Lost(lost))) = kept.changes.get(from) {
            let position = if self.after.0 == *index { self.after.1 + 1 } else { 0 };
            return Ok(Next::Lost(*index, Arc::clone(lost), position));
        }
        let ones = kept.changes.range(from..).take(WATCH_AHEAD).map_while(|(point, change)| match change {
            Change::One(event) => Some((*point, event.clone())),
            Change::Lost(_) => None,
        });
        let changes: Vec<_> = ones.collect();
        Ok(if changes.is_empty() { Next::Nothing } else { Next::Some(changes) })
    }
}

#[cfg(test)]
mod tests;
