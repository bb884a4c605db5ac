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
}

impl Default for Shown {
    fn default() -> Self {
        Self { calls: 0.into(), limit: u32::MAX.into(), percent: 100.into(), out: false.into() }
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

    /// All of it, for a device of this capacity.
    pub(crate) fn load(&self, capacity: u32) -> Load {
        Load {
            calls: self.calls.load(Ordering::Relaxed),
            capacity: capacity.min(self.limit.load(Ordering::Relaxed)).max(1),
            percent: self.percent.load(Ordering::Relaxed),
            taking: if self.out.load(Ordering::Relaxed) { Taking::Nothing } else { Taking::Calls },
        }
    }
}
