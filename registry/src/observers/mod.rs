//! Who follows the log as this node applies it: the node's own parts, watchers, and those who wait for an index.

mod local;
mod lost;
mod watch;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::sync::watch as tokio_watch;

pub(crate) use local::LocalObserver;
pub(crate) use watch::WatchHistory;
pub use watch::{Cursor, Watch, WatchError, WatchItem};

use crate::{
    handle::{ApplyObserver, ReadError},
    model::{event::Event, ids::LogIndex},
};

/// Everybody who follows the log. Cheap, cloneable.
#[derive(Clone)]
pub(crate) struct Observers {
    followers: Arc<ArcSwap<Vec<Arc<dyn ApplyObserver>>>>,
    applied: tokio_watch::Sender<LogIndex>,
}

impl Observers {
    pub(crate) fn new() -> Self {
        let (applied, _) = tokio_watch::channel(LogIndex(0));
        Self { followers: Arc::default(), applied }
    }

    /// Adds a follower; it sees the entries that are applied from now on.
    pub(crate) fn add(&self, follower: Arc<dyn ApplyObserver>) {
        self.followers.rcu(|followers| {
            let mut followers = Vec::clone(followers);
            followers.push(Arc::clone(&follower));
            followers
        });
    }

    /// Adds the follower that the others rely on: it sees each entry before them.
    pub(crate) fn add_first(&self, follower: Arc<dyn ApplyObserver>) {
        self.followers.rcu(|followers| {
            std::iter::once(&follower).chain(followers.iter()).map(Arc::clone).collect::<Vec<_>>()
        });
    }

    /// An entry took effect.
    pub(crate) fn applied(&self, index: LogIndex, events: &[Event]) {
        for follower in self.followers.load().iter() {
            follower.applied(index, events);
        }
        self.applied.send_replace(index);
    }

    /// A snapshot replaced everything.
    pub(crate) fn snapshot_installed(&self, index: LogIndex) {
        for follower in self.followers.load().iter() {
            follower.snapshot_installed(index);
        }
        self.applied.send_replace(index);
    }

    /// Waits until this node has applied `wanted`, at most `patience`.
    pub(crate) async fn wait_applied(&self, wanted: LogIndex, patience: Duration) -> Result<(), ReadError> {
        let mut applied = self.applied.subscribe();
        let reached = tokio::time::timeout(patience, applied.wait_for(|applied| *applied >= wanted)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            _ => Err(ReadError::Behind { applied: *self.applied.borrow(), wanted }),
        }
    }
}
