//! Sessions of this node that take no new calls and still have some, or may be come back to: by epoch.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use hashbrown::HashMap;
use parking_lot::Mutex;
use rollcall_registry::model::ids::Epoch;

use super::{connection::Connection, live::LiveDevice};

/// Why a session takes no new calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lingers {
    /// Its connection is lost. The registry still has it, and its device may come back to it.
    Suspended,
    /// The registry has a newer one, or none.
    Outlived,
}

/// The sessions. Bounded by those that were open when they were put here, each for a resume window or a retirement.
#[derive(Default)]
pub(crate) struct LingeringTable {
    by_epoch: Mutex<HashMap<Epoch, (Arc<LiveDevice>, Lingers)>>,
    suspended: AtomicUsize,
}

impl LingeringTable {
    /// Adds a session, or changes why it lingers.
    pub(crate) fn insert(&self, live: Arc<LiveDevice>, why: Lingers) {
        let former = self.by_epoch.lock().insert(live.epoch, (live, why));
        self.count(former.map(|(_, former)| former), Some(why));
    }

    /// The registry no longer has it. `None`: it is not here.
    pub(crate) fn outlive(&self, epoch: Epoch) -> Option<Arc<LiveDevice>> {
        let mut table = self.by_epoch.lock();
        let (live, why) = table.get_mut(&epoch)?;
        let former = std::mem::replace(why, Lingers::Outlived);
        self.count(Some(former), Some(Lingers::Outlived));
        Some(Arc::clone(live))
    }

    /// Takes a session out.
    pub(crate) fn remove(&self, epoch: Epoch) -> Option<(Arc<LiveDevice>, Lingers)> {
        let removed = self.by_epoch.lock().remove(&epoch)?;
        self.count(Some(removed.1), None);
        Some(removed)
    }

    /// A session.
    pub(crate) fn get(&self, epoch: Epoch) -> Option<Arc<LiveDevice>> {
        self.by_epoch.lock().get(&epoch).map(|(live, _)| Arc::clone(live))
    }

    /// Whether the device of this session may come back to it.
    pub(crate) fn is_suspended(&self, epoch: Epoch) -> bool {
        self.suspended() > 0 && matches!(self.by_epoch.lock().get(&epoch), Some((_, Lingers::Suspended)))
    }

    /// How many sessions may be come back to.
    pub(crate) fn suspended(&self) -> usize {
        self.suspended.load(Ordering::Relaxed)
    }

    /// All sessions, as they are now.
    pub(crate) fn all(&self) -> Vec<Arc<LiveDevice>> {
        self.by_epoch.lock().values().map(|(live, _)| Arc::clone(live)).collect()
    }

    /// The connections that have them, each once.
    pub(crate) fn connections(&self) -> Vec<Arc<Connection>> {
        let all = self.all();
        let mut connections: Vec<_> = all.iter().map(|live| Arc::clone(&live.connection)).collect();
        connections.sort_unstable_by_key(|connection| connection.id);
        connections.dedup_by_key(|connection| connection.id);
        connections
    }

    fn count(&self, former: Option<Lingers>, now: Option<Lingers>) {
        let suspended = |why| usize::from(why == Some(Lingers::Suspended));
        self.suspended.fetch_add(suspended(now), Ordering::Relaxed);
        self.suspended.fetch_sub(suspended(former), Ordering::Relaxed);
    }
}
