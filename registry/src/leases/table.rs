//! The leader's side: who beat when, and whose lease has lapsed. Pure.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    clock::Moment,
    limits::{LEASE_TICK_LATE, LEASE_TTL},
    model::ids::{Incarnation, NodeId},
};

/// The leases that a leader has granted.
///
/// Empty on every node that does not lead. A new leader, or one whose own tick came late, grants all anew: it cannot
/// know what beats it missed, and a lease that lasts too long only delays the report of a dead node.
#[derive(Debug, Default)]
pub struct LeaseTable {
    granted: BTreeMap<NodeId, Lease>,
    last_tick: Option<Moment>,
}

#[derive(Debug, Clone, Copy)]
struct Lease {
    incarnation: Incarnation,
    ends: Moment,
}

/// The answer to a beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Renewed for this long, counted by the node from when it sent the beat.
    Granted(Duration),
    /// The incarnation is over: register again.
    Lapsed,
}

impl LeaseTable {
    /// Takes the beat of a node that the registry has as up in `current`; `None`: as down, or not at all.
    pub fn beat(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        current: Option<Incarnation>,
        now: Moment,
    ) -> Beat {
        if current != Some(incarnation) {
            return Beat::Lapsed;
        }
        self.granted.insert(node, Lease { incarnation, ends: now + LEASE_TTL });
        Beat::Granted(LEASE_TTL)
    }

    /// Passes time; returns the nodes whose lease has lapsed, of those that the registry has as `up`.
    ///
    /// To be called often against [`LEASE_TICK_LATE`]. A lapse is returned at each tick until the registry knows.
    pub fn tick(&mut self, up: &[(NodeId, Incarnation)], now: Moment) -> Vec<(NodeId, Incarnation)> {
        let late = self.last_tick.is_none_or(|last| now.since(last) > LEASE_TICK_LATE);
        self.last_tick = Some(now);
        if late {
            self.granted.clear();
        }
        self.granted.retain(|node, lease| up.contains(&(*node, lease.incarnation)));
        for &(node, incarnation) in up {
            self.granted.entry(node).or_insert(Lease { incarnation, ends: now + LEASE_TTL });
        }
        self.granted
            .iter()
            .filter(|(_, lease)| lease.ends <= now)
            .map(|(node, lease)| (*node, lease.incarnation))
            .collect()
    }

    /// Forgets everything: this node does not lead any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N1: NodeId = NodeId(1);
    const FIRST: Incarnation = Incarnation(10);

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    /// Ticks every 200 ms from `from` until `to`, inclusive; the lapses of the last tick.
    fn tick_until(table: &mut LeaseTable, from: u64, to: u64) -> Vec<(NodeId, Incarnation)> {
        let mut lapsed = Vec::new();
        for millis in (from..=to).step_by(200) {
            lapsed = table.tick(&[(N1, FIRST)], at(millis));
        }
        lapsed
    }

    fn ttl() -> u64 {
        LEASE_TTL.as_millis() as u64
    }

    #[test]
    fn a_node_that_never_beats_lapses_one_ttl_after_the_leader_began() {
        let mut table = LeaseTable::default();
        assert_eq!(tick_until(&mut table, 1_000, 1_000 + ttl() - 200), []);
        assert_eq!(tick_until(&mut table, 1_000 + ttl(), 1_000 + ttl()), [(N1, FIRST)]);
    }

    #[test]
    fn a_beat_renews_for_a_full_ttl() {
        let mut table = LeaseTable::default();
        tick_until(&mut table, 0, 2_000);
        assert_eq!(table.beat(N1, FIRST, Some(FIRST), at(2_100)), Beat::Granted(LEASE_TTL));
        assert_eq!(tick_until(&mut table, 2_200, 2_000 + ttl()), []);
        assert_eq!(tick_until(&mut table, 2_200 + ttl(), 2_200 + ttl()), [(N1, FIRST)]);
    }

    #[test]
    fn a_beat_of_a_dead_incarnation_is_told_so() {
        let mut table = LeaseTable::default();
        assert_eq!(table.beat(N1, FIRST, Some(Incarnation(11)), at(0)), Beat::Lapsed);
        assert_eq!(table.beat(N1, FIRST, None, at(0)), Beat::Lapsed);
    }

    #[test]
    fn a_leader_that_slept_grants_all_anew() {
        let mut table = LeaseTable::default();
        tick_until(&mut table, 0, 1_000);
        assert_eq!(table.tick(&[(N1, FIRST)], at(60_000)), []);
        assert_eq!(tick_until(&mut table, 60_200, 60_000 + ttl() - 200), []);
        assert_eq!(tick_until(&mut table, 60_000 + ttl(), 60_000 + ttl()), [(N1, FIRST)]);
    }

    #[test]
    fn a_new_incarnation_starts_with_a_full_lease() {
        let mut table = LeaseTable::default();
        tick_until(&mut table, 0, ttl() - 200);
        assert_eq!(table.tick(&[(N1, Incarnation(11))], at(ttl())), []);
    }
}
