//! Devices of this node that are asked to move to others: make-before-break, at a rate, each at a moment of its own.

use std::{sync::Arc, time::Duration};

use rand::seq::SliceRandom;
use rollcall_proto::device::CloseCode;
use rollcall_registry::Registrar;

use super::{connection::Connection, device_sessions::DeviceSessions};
use crate::core::departure::Departure;

/// What was asked of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Departing {
    /// How many devices were asked.
    pub devices: usize,
    /// How long it takes until each of them has been given its time to go.
    pub over: Duration,
}

/// Which devices are to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom {
    /// All of them, also those that were asked before.
    All,
    /// At least so many of those that were not asked yet: a connection goes with all of its devices.
    AtLeast(usize),
}

impl<R: Registrar> DeviceSessions<R> {
    /// Asks devices to move. All of them are told now when to go: so many a second as a node admits, faster only if they
    /// are to be gone `within` a time.
    pub(crate) fn send_away(&self, whom: Whom, within: Duration, why: &str) -> Departing {
        let mut connections = self.connections();
        connections.shuffle(&mut rand::rng());
        let (mut chosen, mut devices) = (Vec::new(), 0);
        for connection in connections {
            let enough = matches!(whom, Whom::AtLeast(wanted) if devices >= wanted);
            if enough {
                break;
            }
            if matches!(whom, Whom::AtLeast(_)) && (connection.was_sent_away() || connection.devices() == 0) {
                continue;
            }
            let carries = connection.devices();
            devices += carries;
            chosen.push((connection, carries));
        }
        let over =
            self.tell(chosen, Departure::new(devices, self.shared.config.connects_per_second, within), why);
        Departing { devices, over }
    }

    fn tell(&self, chosen: Vec<(Arc<Connection>, usize)>, mut departure: Departure, why: &str) -> Duration {
        let mut addrs = self.addrs_to_go_to();
        for (connection, devices) in chosen {
            let at = departure.next(devices, rand::random());
            connection.go_away(CloseCode::GoingAway, at, &addrs, why);
            // Each prefers another one.
            if !addrs.is_empty() {
                addrs.rotate_left(1);
            }
        }
        departure.end()
    }

    /// Addresses of nodes that stay.
    fn addrs_to_go_to(&self) -> Vec<String> {
        let me = self.registry.node();
        let others = self.registry.routes().nodes().into_iter();
        let others = others.filter(|node| node.id != me && node.up && !node.draining);
        others.map(|node| node.addresses.device.clone()).filter(|addr| !addr.is_empty()).collect()
    }
}
