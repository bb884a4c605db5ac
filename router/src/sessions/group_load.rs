//! How many calls the devices of a group have on this node, kept as they come and go.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

/// The calls on this node's devices of one group.
#[derive(Debug, Default)]
pub(crate) struct GroupLoad(AtomicU64);

impl GroupLoad {
    /// A device that had `before` calls has `after`.
    pub(crate) fn change(&self, before: u32, after: u32) {
        // Two's complement: adding the wrapped difference subtracts.
        self.0.fetch_add(u64::from(after).wrapping_sub(u64::from(before)), Ordering::Relaxed);
    }

    /// The calls.
    pub(crate) fn calls(&self) -> u64 {
        // A reader may come between two steps of a change.
        u64::try_from(self.0.load(Ordering::Relaxed).cast_signed()).unwrap_or(0)
    }
}

/// What one version of a session counts in the loads of its groups. A clone counts by itself, from nothing.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    groups: OnceLock<Box<[Arc<GroupLoad>]>>,
    calls: AtomicU32,
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Counted {
    /// It belongs to these groups; to be said once, what is said later counts for nothing.
    pub(crate) fn join(&self, groups: Box<[Arc<GroupLoad>]>) {
        drop(self.groups.set(groups));
    }

    /// It has so many calls.
    pub(crate) fn set(&self, calls: u32) {
        let Some(groups) = self.groups.get() else { return };
        let before = self.calls.swap(calls, Ordering::Relaxed);
        groups.iter().for_each(|load| load.change(before, calls));
    }
}
