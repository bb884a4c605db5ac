//! What became of the calls: by kind, by the site of the device, by when they began.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;

use crate::stats::Latencies;

/// What a caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Short, small.
    Signature,
    /// Of 20 s, with a reply of 500 KB.
    Business,
}

/// Where the device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Site {
    /// 30 devices that nothing happens to.
    Well,
    /// 20 devices behind the access point.
    Behind,
}

/// When a call began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Calm,
    Dead,
    After,
}

type Ends = BTreeMap<(Phase, Kind, Site, String), u64>;

/// The account of all calls.
#[derive(Default)]
pub(super) struct Tally {
    phase: AtomicU8,
    late: AtomicU64,
    ends: Mutex<Ends>,
    took: Mutex<BTreeMap<(Phase, Kind), Vec<Duration>>>,
}

const ANSWERED: &str = "answered";

impl Tally {
    /// Calls that begin from now on belong to this phase.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    /// When a call that begins now begins.
    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Calm,
            1 => Phase::Dead,
            _ => Phase::After,
        }
    }

    /// A call ended.
    pub(super) fn ended(
        &self,
        begun: Phase,
        kind: Kind,
        site: Site,
        failure: Option<String>,
        took: Duration,
    ) {
        if failure.is_none() && site == Site::Well {
            self.took.lock().entry((begun, kind)).or_default().push(took);
        }
        let end = failure.unwrap_or_else(|| ANSWERED.to_owned());
        *self.ends.lock().entry((begun, kind, site, end)).or_default() += 1;
    }

    /// A call ended after its caller's time.
    pub(super) fn was_late(&self) {
        self.late.fetch_add(1, Relaxed);
    }

    /// Calls that ended after their callers' time.
    pub(super) fn late(&self) -> u64 {
        self.late.load(Relaxed)
    }

    /// The part of the calls to the devices that nothing happens to that were answered.
    pub(super) fn answered(&self, kind: Kind, phase: Phase) -> f64 {
        let ends = self.ends.lock();
        let of = |(key, count): (&(Phase, Kind, Site, String), &u64)| {
            ((key.0, key.1, key.2) == (phase, kind, Site::Well)).then_some((key.3 == ANSWERED, *count))
        };
        let all: u64 = ends.iter().filter_map(of).map(|(_, count)| count).sum();
        let good: u64 = ends.iter().filter_map(of).filter(|(good, _)| *good).map(|(_, count)| count).sum();
        good as f64 / (all as f64).max(1.0)
    }

    /// Of the calls to the devices that nothing happens to.
    pub(super) fn p99_us(&self, kind: Kind, phase: Phase) -> f64 {
        Latencies::of(self.took.lock().get(&(phase, kind)).cloned().unwrap_or_default()).percentile_us(0.99)
    }

    /// How many calls ended in which way, in words.
    pub(super) fn outcomes(&self) -> Vec<String> {
        let line = |((phase, kind, site, end), count): (&(Phase, Kind, Site, String), &u64)| {
            format!("{phase:?}, {kind:?}, {site:?}: {count} {end}")
        };
        self.ends.lock().iter().map(line).collect()
    }
}
