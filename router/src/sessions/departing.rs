//! Devices of this node that are asked to move to others: make-before-break, at a rate, each at a moment of its own.

use std::time::Duration;

use rand::seq::SliceRandom;
use rollcall_proto::device::CloseCode;
use rollcall_registry::{Registrar, model::ids::NodeId};

use super::device_sessions::DeviceSessions;
use crate::core::departure::Departure;

/// What was asked of devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Departing {
    /// How many devices were asked.
    pub devices: usize,
    /// How long it takes until each of them has been given its time to go.
    pub over: Duration,
}

impl<R: Registrar> DeviceSessions<R> {
    /// Asks all devices to move. They are told now when to go: so many a second as a node admits, faster only if they are
    /// to be gone `within` a time.
    pub(crate) fn send_away(&self, within: Duration, why: &str) -> Departing {
        let mut connections = self.connections();
        connections.shuffle(&mut rand::rng());
        let chosen: Vec<_> =
            connections.into_iter().map(|connection| (connection.devices(), connection)).collect();
        let devices = chosen.iter().map(|(devices, _)| devices).sum();
        let mut departure = Departure::within(within, devices, self.shared.config.connects_per_second);
        let mut addrs = self.addrs_to_go_to();
        for (devices, connection) in chosen {
            let at = departure.next(devices, rand::random());
            connection.go_away(CloseCode::GoingAway, at, &addrs, why);
            // Each prefers another one.
            if !addrs.is_empty() {
                addrs.rotate_left(1);
            }
        }
        Departing { devices, over: departure.end() }
    }

    /// Asks so many devices to move to each of these nodes; those that were asked before are not asked again. A connection
    /// goes with all of its devices, so one that has more than a node is to get stays.
    pub(crate) fn give_away(&self, gives: &[(NodeId, u64)], per_second: u32, why: &str) -> Departing {
        let per_second = per_second.min(self.shared.config.connects_per_second);
        let (mut departure, mut devices) = (Departure::at_rate(per_second), 0);
        let mut gifts: Vec<(u64, Option<String>)> =
            gives.iter().map(|(node, devices)| (*devices, self.addr_of(*node))).collect();
        let mut connections = self.connections();
        connections.shuffle(&mut rand::rng());
        for connection in connections {
            let carries = connection.devices();
            if carries == 0 || connection.was_sent_away() {
                continue;
            }
            let Some((left, addr)) = gifts.iter_mut().max_by_key(|(left, _)| *left) else { break };
            let Some(rest) = left.checked_sub(carries as u64) else { continue };
            *left = rest;
            devices += carries;
            let at = departure.next(carries, rand::random());
            connection.go_away(CloseCode::GoingAway, at, addr.as_slice(), why);
        }
        Departing { devices, over: departure.end() }
    }

    /// Where devices reach a node, if it has said so.
    fn addr_of(&self, node: NodeId) -> Option<String> {
        let view = self.registry.routes().node(node)?;
        Some(view.addresses.device.clone()).filter(|addr| !addr.is_empty())
    }

    /// Addresses of nodes that stay.
    fn addrs_to_go_to(&self) -> Vec<String> {
        let me = self.registry.node();
        let others = self.registry.routes().nodes().into_iter();
        let others = others.filter(|node| node.id != me && node.up && !node.draining);
        others.map(|node| node.addresses.device.clone()).filter(|addr| !addr.is_empty()).collect()
    }
}
