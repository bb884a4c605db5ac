//! One connection as the core knows it: how far it got, what the node said of itself, who is attached on it.

use std::time::Duration;

use rollcall_proto::device as wire;

use super::calls::duration;
use crate::limits;

/// How far a connection got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It is being opened.
    Dialling,
    /// Hello was sent.
    Greeting { until: Duration },
    /// Welcome came: devices attach.
    Open,
    /// The node will end it: no new attaches; calls go on.
    Leaving,
    /// Its devices have moved: it delivers results, and refuses what its node still sends.
    Retiring { until: Duration },
    /// Its last frames are on their way.
    Ending { until: Duration },
}

/// Whether a node wants the results of calls that came on earlier connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replays {
    /// It passes them on.
    Wanted,
    /// Nobody waits for them.
    Unwanted,
}

/// How far long payloads go by themselves, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// To their end.
    Free,
    /// As far as their receiver has given credit.
    OnCredit,
}

/// How far a device got on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Nothing was asked.
    Free,
    /// Attach was sent.
    Attaching { until: Duration },
    /// Calls come.
    Attached { since: Duration, replays: Replays },
    /// A newer session of the same device took over.
    Over,
}

/// Why a connection is given up on which nothing comes.
const SILENT: &str = "nothing was heard for two heartbeat intervals";

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) server: String,
    pub(crate) phase: Phase,
    pub(crate) node: String,
    pub(crate) cluster_id: String,
    pub(crate) heartbeat: Duration,
    pub(crate) heard: Duration,
    pub(crate) max_payload: u64,
    pub(crate) flow: Flow,
    /// By device.
    pub(crate) slots: Vec<Slot>,
    /// How many of them the node takes.
    pub(crate) max_slots: usize,
}

impl Link {
    /// A connection that is being opened.
    pub(crate) fn new(server: String, devices: usize, now: Duration) -> Self {
        Self {
            server,
            phase: Phase::Dialling,
            node: String::new(),
            cluster_id: String::new(),
            heartbeat: limits::HEARTBEAT_INTERVAL,
            heard: now,
            max_payload: limits::PAYLOAD_BYTES,
            flow: Flow::Free,
            slots: vec![Slot::Free; devices],
            max_slots: devices,
        }
    }

    /// The node said who it is and what it bears.
    pub(crate) fn welcome(&mut self, welcome: &wire::Welcome) {
        self.phase = Phase::Open;
        self.node.clone_from(&welcome.node);
        self.cluster_id.clone_from(&welcome.cluster_id);
        if let Some(interval) =
            welcome.heartbeat_interval.map(duration).filter(|interval| !interval.is_zero())
        {
            self.heartbeat = interval;
        }
        if welcome.max_payload_bytes > 0 {
            self.max_payload = welcome.max_payload_bytes;
        }
        if welcome.credit {
            self.flow = Flow::OnCredit;
        }
        if welcome.max_slots > 0 {
            self.max_slots = welcome.max_slots as usize;
        }
    }

    /// Whether a device is attached.
    pub(crate) fn holds(&self, device: usize) -> bool {
        matches!(self.slots.get(device), Some(Slot::Attached { .. }))
    }

    /// Whether a device is attached, or about to be.
    pub(crate) fn engages(&self, device: usize) -> bool {
        matches!(self.slots.get(device), Some(Slot::Attached { .. } | Slot::Attaching { .. }))
    }

    /// Whether results of a device's earlier calls can be sent here.
    pub(crate) fn takes_replays(&self, device: usize) -> bool {
        matches!(self.slots.get(device), Some(Slot::Attached { replays: Replays::Wanted, .. }))
    }

    /// Whether any device is attached, or about to be.
    pub(crate) fn in_use(&self) -> bool {
        (0..self.slots.len()).any(|device| self.engages(device))
    }

    /// Whether a device's session on it has lasted.
    pub(crate) fn lasted(&self, device: usize, now: Duration) -> bool {
        matches!(self.slots.get(device), Some(Slot::Attached { since, .. }) if now >= *since + limits::STABLE)
    }

    /// When it is given up if nothing comes, and why.
    pub(crate) fn patience(&self) -> Option<(Duration, &'static str)> {
        let silent = self.heard + self.heartbeat * limits::SILENT_INTERVALS;
        let overdue = self.slots.iter().filter_map(|slot| match slot {
            Slot::Attaching { until } => Some(*until),
            Slot::Free | Slot::Attached { .. } | Slot::Over => None,
        });
        match self.phase {
            // The dial has its own patience.
            Phase::Dialling => None,
            Phase::Greeting { until } => Some((until, "the node did not answer Hello")),
            Phase::Retiring { until } => {
                [(until, "its devices have moved"), (silent, SILENT)].into_iter().min()
            }
            Phase::Ending { until } => Some((until, "it was to end")),
            Phase::Open | Phase::Leaving => {
                overdue.map(|until| (until, "the node did not answer Attach")).chain([(silent, SILENT)]).min()
            }
        }
    }
}
