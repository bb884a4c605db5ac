//! The placement of whole clusters, simulated: equal devices get equal shares, whatever node they are on.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use proptest::prelude::*;
use rollcall_registry::model::ids::NodeId;
use tokio::time::Instant;

use super::{
    load_hint::LoadHint,
    pick::{self, Load, Room, Taking},
    placement::{self, Draws, Holder, Own, Placed, Pressed, Scene},
};
use crate::limits::PLACEMENT_ATTEMPTS;

/// A node of the simulation: its devices, and what it believes of the others.
struct Node {
    devices: Vec<Load>,
    given: Vec<u64>,
    turn: usize,
    hints: Vec<LoadHint>,
    draws: Draws,
}

impl Node {
    fn pick(&self, start: usize) -> Option<(usize, Room)> {
        let len = self.devices.len();
        let order = (0..len).map(|step| (start + step) % len.max(1));
        pick::least_loaded(order.map(|at| (at, self.devices[at])), start)
    }

    fn calls(&self) -> u64 {
        self.devices.iter().map(|device| u64::from(device.calls)).sum()
    }

    fn capacity(&self) -> u64 {
        self.devices.iter().map(|device| u64::from(device.capacity)).sum()
    }
}

/// Where a call runs: its origin, its holder, its device.
type Place = (usize, usize, usize);

struct World {
    nodes: Vec<Node>,
    running: BinaryHeap<Reverse<(u64, Place)>>,
    start: Instant,
    noise: u64,
    refused: u64,
}

impl World {
    fn new(devices: &[usize], capacity: u32, seed: u64) -> Self {
        let node = |(number, &count): (usize, &usize)| Node {
            devices: vec![Load { calls: 0, capacity, percent: 100, taking: Taking::Calls }; count],
            given: vec![0; count],
            turn: 0,
            hints: devices.iter().map(|_| LoadHint::default()).collect(),
            draws: Draws::new(seed.rotate_left(number as u32 * 8)),
        };
        let nodes = devices.iter().enumerate().map(node).collect();
        Self { nodes, running: BinaryHeap::new(), start: Instant::now(), noise: seed | 1, refused: 0 }
    }

    fn random(&mut self) -> u64 {
        self.noise =
            self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.noise ^ self.noise >> 29
    }

    fn at(&self, time: u64) -> Instant {
        self.start + Duration::from_millis(time)
    }

    /// Ends what ends until then.
    fn advance(&mut self, time: u64) {
        while let Some(Reverse((due, (origin, holder, device)))) = self.running.peek().copied()
            && due <= time
        {
            self.running.pop();
            self.nodes[holder].devices[device].calls -= 1;
            self.tell(origin, holder, due);
            self.nodes[origin].hints[holder].ended();
        }
    }

    fn tell(&mut self, origin: usize, holder: usize, time: u64) {
        let (calls, now) = (self.nodes[holder].calls(), self.at(time));
        self.nodes[origin].hints[holder].heard(calls, now);
    }

    fn call(&mut self, origin: usize, time: u64, lasts: u64) {
        let mut tried: Vec<usize> = Vec::new();
        while (tried.len() as u32) < PLACEMENT_ATTEMPTS {
            let Some(holder) = self.place(origin, &tried, time) else { break };
            self.nodes[holder].turn += 1;
            let turn = self.nodes[holder].turn;
            if let Some((device, Room::Some)) = self.nodes[holder].pick(turn) {
                self.nodes[holder].devices[device].calls += 1;
                self.nodes[holder].given[device] += 1;
                self.nodes[origin].hints[holder].sent();
                return self.running.push(Reverse((time + lasts, (origin, holder, device))));
            }
            self.tell(origin, holder, time);
            tried.push(holder);
        }
        self.refused += 1;
    }

    fn place(&mut self, origin: usize, tried: &[usize], time: u64) -> Option<usize> {
        let (now, other) = (self.at(time), self.random());
        let me = &self.nodes[origin];
        let has_room = matches!(me.pick(me.turn), Some((_, Room::Some)));
        let own = Own { capacity: me.capacity(), has_room };
        let reachable = |node: &usize| *node != origin && !tried.contains(node);
        let holders: Vec<Holder> = (0..self.nodes.len())
            .filter(reachable)
            .filter(|node| !self.nodes[*node].devices.is_empty())
            .map(|node| Holder {
                node: NodeId(node as u64),
                capacity: self.nodes[node].capacity(),
                load: me.hints[node].estimate(now),
                pressed: Pressed::No,
            })
            .collect();
        let scene = Scene {
            own: (!me.devices.is_empty() && !tried.contains(&origin)).then_some(own),
            holders: &holders,
            nodes: self.nodes.len() as u64,
            again: !tried.is_empty(),
        };
        match placement::choose(scene, me.draws.next(), other) {
            Placed::Here => Some(origin),
            Placed::There(node) => Some(node.0 as usize),
            Placed::Nowhere => None,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn equal_devices_get_equal_shares_within_a_tenth_and_none_gets_more_than_it_takes(
        // Few places of a node, or busy ones, are more often all taken when a call comes, which then goes elsewhere.
        devices in prop::collection::vec(prop_oneof![Just(0), 3..7usize], 2..6), capacity in 2..6u32, busy in 1..60u64, seed: u64,
    ) {
        let count: usize = devices.iter().sum();
        prop_assume!(count > 0);
        let mut world = World::new(&devices, capacity, seed);
        // Calls last 20 ms on average; `busy` is the offered load in percent of what the devices can take.
        let places = count as u64 * u64::from(capacity);
        let (calls, mut time) = (count as u64 * 2_000, 0_u64);
        for number in 0..calls {
            time = number * 20 * 100 / (places * busy);
            world.advance(time);
            let lasts = 1 + world.random() % 39;
            world.call(number as usize % devices.len(), time, lasts);
            for node in &world.nodes {
                prop_assert!(node.devices.iter().all(|device| device.calls <= capacity), "above capacity");
            }
        }
        world.advance(time + 1_000);
        prop_assert!(world.nodes.iter().all(|node| node.calls() == 0), "a call has no end");
        let given: Vec<u64> = world.nodes.iter().flat_map(|node| node.given.clone()).collect();
        prop_assert_eq!(given.iter().sum::<u64>() + world.refused, calls);
        let mean = given.iter().sum::<u64>() as f64 / count as f64;
        for share in &given {
            let off = (*share as f64 - mean).abs() / mean;
            prop_assert!(off <= 0.1, "{share} of {mean} on average: {given:?}, {} refused", world.refused);
        }
    }
}
