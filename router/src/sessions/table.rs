//! The live devices of this node, by epoch and by group. Locks are held for a look-up or a change only.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use compact_str::CompactString;
use hashbrown::{Equivalent, HashMap};
use indexmap::IndexMap;
use parking_lot::RwLock;
use rollcall_registry::model::ids::{Epoch, GroupKey};

use super::{group_load::GroupLoad, live::LiveDevice};
use crate::core::pick::{self, Room};

const SHARDS: usize = 16;

/// What a group's call asks of a device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupQuery<'a> {
    /// The namespace.
    pub(crate) namespace: &'a str,
    /// The group.
    pub(crate) group: &'a str,
    /// The action that the device must offer.
    pub(crate) action: &'a str,
    /// The labels that it must carry.
    pub(crate) labels: &'a [(&'a str, &'a str)],
}

/// A group's key, borrowed.
#[derive(Hash)]
pub(crate) struct GroupRef<'a> {
    /// The namespace.
    pub(crate) namespace: &'a str,
    /// The group.
    pub(crate) group: &'a str,
}

impl Equivalent<GroupKey> for GroupRef<'_> {
    fn equivalent(&self, key: &GroupKey) -> bool {
        self.namespace == key.namespace && self.group == key.group
    }
}

#[derive(Default)]
struct Members {
    devices: IndexMap<Epoch, Arc<LiveDevice>>,
    turn: AtomicUsize,
    load: Arc<GroupLoad>,
}

impl Members {
    /// The position of the least loaded matching device, and whether it has room.
    fn pick(&self, query: GroupQuery<'_>, turn: usize) -> Option<(usize, Room)> {
        let len = self.devices.len();
        let start = turn % len.max(1);
        let matching = (start..len).chain(0..start).filter_map(|at| {
            let (_, live) = self.devices.get_index(at)?;
            let fits =
                live.profile.offers(query.action) && live.profile.carries(query.labels.iter().copied());
            fits.then(|| (at, live.load()))
        });
        pick::least_loaded(matching, turn)
    }
}

/// The live devices of this node.
#[derive(Default)]
pub(crate) struct LiveTable {
    by_epoch: [RwLock<HashMap<Epoch, Arc<LiveDevice>>>; SHARDS],
    by_group: [RwLock<HashMap<GroupKey, Members>>; SHARDS],
    hasher: RandomState,
    len: AtomicUsize,
}

impl LiveTable {
    /// How many devices there are.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Adds a device, or replaces the version of its session that is there.
    pub(crate) fn insert(&self, live: &Arc<LiveDevice>) {
        let former = self.epochs(live.epoch).write().insert(live.epoch, Arc::clone(live));
        match former {
            Some(former) => self.leave_groups(&former),
            None => drop(self.len.fetch_add(1, Ordering::Relaxed)),
        }
        let join = |group: &CompactString| {
            let key = GroupKey { namespace: live.key.namespace.clone(), group: group.clone() };
            let mut groups = self.groups(&key.namespace, &key.group).write();
            let members = groups.entry(key).or_default();
            members.devices.insert(live.epoch, Arc::clone(live));
            Arc::clone(&members.load)
        };
        live.counted.join(live.profile.groups.iter().map(join).collect());
    }

    /// Takes the device of this epoch out; `None`: it is not there.
    pub(crate) fn remove(&self, epoch: Epoch) -> Option<Arc<LiveDevice>> {
        let live = self.epochs(epoch).write().remove(&epoch)?;
        self.len.fetch_sub(1, Ordering::Relaxed);
        self.leave_groups(&live);
        Some(live)
    }

    /// The device of this epoch.
    pub(crate) fn get(&self, epoch: Epoch) -> Option<Arc<LiveDevice>> {
        self.epochs(epoch).read().get(&epoch).cloned()
    }

    /// The least loaded matching device of a group; equals take turns. `None`: none matches.
    pub(crate) fn pick(&self, query: GroupQuery<'_>) -> Option<(Arc<LiveDevice>, Room)> {
        let groups = self.groups(query.namespace, query.group).read();
        let members = groups.get(&GroupRef { namespace: query.namespace, group: query.group })?;
        let (at, room) = members.pick(query, members.turn.fetch_add(1, Ordering::Relaxed))?;
        members.devices.get_index(at).map(|(_, live)| (Arc::clone(live), room))
    }

    /// Whether a matching device of a group can start a call now. Takes nobody's turn.
    pub(crate) fn has_room(&self, query: GroupQuery<'_>) -> bool {
        let groups = self.groups(query.namespace, query.group).read();
        let members = groups.get(&GroupRef { namespace: query.namespace, group: query.group });
        let picked = members.and_then(|members| members.pick(query, members.turn.load(Ordering::Relaxed)));
        matches!(picked, Some((_, Room::Some)))
    }

    /// The calls on a group's devices, as they are from now on; `None`: there are no devices.
    pub(crate) fn load_of(&self, namespace: &str, group: &str) -> Option<Arc<GroupLoad>> {
        let groups = self.groups(namespace, group).read();
        groups.get(&GroupRef { namespace, group }).map(|members| Arc::clone(&members.load))
    }

    /// All devices, as they are now.
    pub(crate) fn all(&self) -> Vec<Arc<LiveDevice>> {
        self.by_epoch.iter().flat_map(|shard| shard.read().values().cloned().collect::<Vec<_>>()).collect()
    }

    fn leave_groups(&self, live: &LiveDevice) {
        for group in &live.profile.groups {
            let mut groups = self.groups(&live.key.namespace, group).write();
            let query = GroupRef { namespace: &live.key.namespace, group };
            let Some(members) = groups.get_mut(&query) else { continue };
            members.devices.swap_remove(&live.epoch);
            if members.devices.is_empty() {
                groups.remove(&query);
            }
        }
    }

    fn epochs(&self, epoch: Epoch) -> &RwLock<HashMap<Epoch, Arc<LiveDevice>>> {
        // Epochs rise by position in a batch, then by index: mix both into the low bits.
        &self.by_epoch[((epoch.0 ^ epoch.0 >> 12) % SHARDS as u64) as usize]
    }

    fn groups(&self, namespace: &str, group: &str) -> &RwLock<HashMap<GroupKey, Members>> {
        &self.by_group[(self.hasher.hash_one((namespace, group)) % SHARDS as u64) as usize]
    }
}
