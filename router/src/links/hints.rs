//! The loads of one peer's groups, as this node believes them. Locks are held for a look-up or a change only.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use rollcall_registry::model::ids::GroupKey;
use tokio::time::Instant;

use crate::{core::load_hint::LoadHint, limits, sessions::table::GroupRef};

/// The loads of one peer's groups.
#[derive(Default)]
pub(crate) struct Hints {
    groups: RwLock<HashMap<GroupKey, Arc<Mutex<LoadHint>>>>,
}

/// A call on its way to the peer: counts in the group's load until it is dropped.
pub(crate) struct Sent(Arc<Mutex<LoadHint>>);

impl Hints {
    /// Calls on the peer's devices of a group; 0 if nothing is known.
    pub(crate) fn load(&self, namespace: &str, group: &str) -> u64 {
        let groups = self.groups.read();
        let hint = groups.get(&GroupRef { namespace, group });
        hint.map_or(0, |hint| hint.lock().estimate(Instant::now()))
    }

    /// A call for a device of the group goes to the peer.
    pub(crate) fn sent(&self, namespace: &str, group: &str) -> Sent {
        let known = self.groups.read().get(&GroupRef { namespace, group }).cloned();
        let hint = known.unwrap_or_else(|| self.insert(namespace, group));
        hint.lock().sent();
        Sent(hint)
    }

    fn insert(&self, namespace: &str, group: &str) -> Arc<Mutex<LoadHint>> {
        let mut groups = self.groups.write();
        if groups.len() >= limits::LOAD_HINTS {
            let now = Instant::now();
            groups.retain(|_, hint| !hint.lock().is_idle(now));
        }
        if groups.len() >= limits::LOAD_HINTS {
            return Arc::default();
        }
        let key = GroupKey { namespace: namespace.into(), group: group.into() };
        Arc::clone(groups.entry(key).or_default())
    }
}

impl Sent {
    /// The peer said how many calls its devices of the group have.
    pub(crate) fn heard(&self, calls: u64) {
        self.0.lock().heard(calls, Instant::now());
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.0.lock().ended();
    }
}
