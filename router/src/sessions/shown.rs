//! What a session shows to those who look at it without its lock: how busy it is, and what it takes.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::core::pick::{Load, Taking};

/// What a session shows; shared by the versions of it that differ in profile.
#[derive(Debug)]
pub(crate) struct Shown {
    calls: AtomicU32,
    limit: AtomicU32,
    percent: AtomicU32,
    out: AtomicBool,
    doubted: AtomicBool,
    left: AtomicBool,
}

impl Default for Shown {
    fn default() -> Self {
        Self {
            calls: 0.into(),
            limit: u32::MAX.into(),
            percent: 100.into(),
            out: false.into(),
            doubted: false.into(),
            left: false.into(),
        }
    }
}

impl Shown {
    /// It has so many calls. Returns how many it had.
    pub(crate) fn swap_calls(&self, calls: u32) -> u32 {
        self.calls.swap(calls, Ordering::Relaxed)
    }

    /// It takes so many calls at once, and this share of a group's; or nothing at all.
    pub(crate) fn set(&self, limit: u32, percent: u32, out: bool) {
        self.limit.store(limit, Ordering::Relaxed);
        self.percent.store(percent, Ordering::Relaxed);
        self.out.store(out, Ordering::Relaxed);
    }

    /// Its site was lost: it gets no calls until it gives a sign of life.
    pub(crate) fn doubt(&self) {
        self.doubted.store(true, Ordering::Relaxed);
    }

    /// It has answered a ping.
    pub(crate) fn trust(&self) {
        self.doubted.store(false, Ordering::Relaxed);
    }

    /// Whether it is believed gone with its site.
    pub(crate) fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Relaxed)
    }

    /// It goes because it wants to.
    pub(crate) fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// Whether it has gone because it wanted to.
    pub(crate) fn has_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    /// All of it, for a device of this capacity.
    pub(crate) fn load(&self, capacity: u32) -> Load {
        Load {
            calls: self.calls.load(Ordering::Relaxed),
            capacity: capacity.min(self.limit.load(Ordering::Relaxed)).max(1),
            percent: self.percent.load(Ordering::Relaxed),
            taking: if self.out.load(Ordering::Relaxed) || self.is_doubted() {
                Taking::Nothing
            } else {
                Taking::Calls
            },
        }
    }
}
