//! What every replica applied, entry by entry: the same everywhere, or the history of the cluster is not one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rollcall_cluster_tests::invariants::Violation;
use rollcall_registry::{
    ApplyObserver,
    model::{
        event::Event,
        ids::{DeviceKey, Epoch, Incarnation, LogIndex, NodeId},
        invariants::EpochHistory,
    },
};

use crate::{network::Network, trace::Trace};

/// All that was applied anywhere.
#[derive(Default)]
struct Applied {
    /// The events of each entry, as the first replica that applied it told them.
    entries: BTreeMap<LogIndex, String>,
    opened: BTreeSet<(LogIndex, DeviceKey, Epoch)>,
    /// Lives that are over, since when.
    ended: BTreeMap<(NodeId, Incarnation), Duration>,
    /// Checked up to here, in the order of the log.
    epochs: EpochHistory,
    next: Option<LogIndex>,
    violations: Vec<Violation>,
    snapshots: u64,
}

/// Follows every replica; cheap to clone, all clones are the same.
#[derive(Clone)]
pub(crate) struct Followed {
    applied: Arc<Mutex<Applied>>,
    network: Network,
    trace: Trace,
}

/// One life of one replica.
struct Follower {
    machine: usize,
    followed: Followed,
}

impl Followed {
    pub(crate) fn new(network: Network, trace: Trace) -> Self {
        Self { applied: Arc::default(), network, trace }
    }

    /// Who follows a machine's replica.
    pub(crate) fn follower(&self, machine: usize) -> Arc<dyn ApplyObserver> {
        Arc::new(Follower { machine, followed: self.clone() })
    }

    /// Since when a life is over, if it is.
    pub(crate) fn ended(&self, node: NodeId, incarnation: Incarnation) -> Option<Duration> {
        self.applied.lock().ended.get(&(node, incarnation)).copied()
    }

    /// Whether this entry, as replicas applied it, opened this session.
    pub(crate) fn opened(&self, index: LogIndex, device: &DeviceKey, epoch: Epoch) -> bool {
        self.applied.lock().opened.contains(&(index, device.clone(), epoch))
    }

    /// The last entry that anybody applied.
    pub(crate) fn last(&self) -> LogIndex {
        self.applied.lock().entries.last_key_value().map_or(LogIndex(0), |(index, _)| *index)
    }

    pub(crate) fn lives_ended(&self) -> u64 {
        self.applied.lock().ended.len() as u64
    }

    pub(crate) fn snapshots(&self) -> u64 {
        self.applied.lock().snapshots
    }

    pub(crate) fn take_violations(&self) -> Vec<Violation> {
        std::mem::take(&mut self.applied.lock().violations)
    }
}

impl ApplyObserver for Follower {
    fn applied(&self, index: LogIndex, events: &[Event]) {
        let (machine, now) = (self.machine, self.followed.network.now());
        let told = format!("{events:?}");
        let mut applied = self.followed.applied.lock();
        if applied.is_of_a_snapshot(index, events, &told) {
            return;
        }
        let first = applied.entries.entry(index).or_insert_with(|| told.clone());
        if *first != told {
            let what = format!("entry {index} was {first}, and is {told} at machine {machine}");
            applied.violations.push(Violation::of("applied_prefix_equal", what));
        }
        applied.observe(index, events, now);
        self.followed.trace.line(now, format_args!("{machine} applies {index}: {told}"));
    }

    fn snapshot_installed(&self, index: LogIndex) {
        self.followed.applied.lock().snapshots += 1;
        self.followed
            .trace
            .line(self.followed.network.now(), format_args!("{} has the snapshot of {index}", self.machine));
    }
}

impl Applied {
    /// After a snapshot the last batches of all nodes are told again, under its index.
    fn is_of_a_snapshot(&self, index: LogIndex, events: &[Event], told: &str) -> bool {
        let mut batches = events.iter().map(|event| match event {
            Event::BatchApplied(batch) => Some(batch.index),
            _ => None,
        });
        let all = !events.is_empty() && batches.clone().all(|batch| batch.is_some());
        let others = batches.any(|batch| batch != Some(index));
        all && (others || self.entries.get(&index).is_some_and(|first| first != told))
    }

    fn observe(&mut self, index: LogIndex, events: &[Event], now: Duration) {
        for event in events {
            match event {
                Event::Opened { device, session, .. } => {
                    self.opened.insert((index, device.clone(), session.epoch));
                }
                Event::NodeDown { node, incarnation, .. } => {
                    self.ended.entry((*node, *incarnation)).or_insert(now);
                }
                _ => {}
            }
        }
        // Each entry once, in the order of the log; the first replica to apply one has applied all before it.
        if self.next.is_none_or(|next| next == index) {
            self.next = Some(LogIndex(index.0 + 1));
            if let Err(violation) = self.epochs.observe(events) {
                self.violations
                    .push(Violation::of("epochs_rise_in_the_log", format!("entry {index}: {violation}")));
            }
        }
    }
}
