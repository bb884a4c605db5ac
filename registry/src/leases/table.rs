//! The leader's side: who beat when, and whose lease has lapsed. Pure.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    clock::Moment,
    limits::{LEASE_TICK_LATE, LEASE_TTL, RAFT_ELECTION_MIN},
    model::ids::{Incarnation, NodeId},
};

/// The leases that a leader has granted.
///
/// Empty on every node that does not lead. A new leader, or one whose own tick came late, grants all anew: it cannot
/// know what beats it missed, and a lease that lasts too long only delays the report of a dead node.
#[derive(Debug, Default)]
pub struct LeaseTable {
    granted: BTreeMap<NodeId, Lease>,
    /// Lives that [`Self::tick`] has called lapsed: their end may be committed at any later time, so none is renewed.
    condemned: BTreeMap<NodeId, Incarnation>,
    last_tick: Option<Moment>,
    /// Nothing is granted before this, after the machine slept: what is known of the quorum may be from before.
    quiet_until: Moment,
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
    ///
    /// Answers `None` when nothing can be granted now: ask again.
    pub fn beat(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        current: Option<Incarnation>,
        now: Moment,
    ) -> Option<Beat> {
        if current != Some(incarnation) || self.condemned.get(&node) == Some(&incarnation) {
            return Some(Beat::Lapsed);
        }
        if self.is_late(now) || now < self.quiet_until {
            return None;
        }
        self.granted.insert(node, Lease { incarnation, ends: now + LEASE_TTL });
        Some(Beat::Granted(LEASE_TTL))
    }

    /// Passes time; returns the nodes whose lease has lapsed, of those that the registry has as `up`.
    ///
    /// To be called often against [`LEASE_TICK_LATE`]. A lapse is returned at each tick until the registry knows.
    pub fn tick(&mut self, up: &[(NodeId, Incarnation)], now: Moment) -> Vec<(NodeId, Incarnation)> {
        if self.is_late(now) {
            self.granted.clear();
            self.quiet_until = self.last_tick.map_or(now, |_| now + RAFT_ELECTION_MIN);
        }
        self.last_tick = Some(now);
        self.granted.retain(|node, lease| up.contains(&(*node, lease.incarnation)));
        self.condemned.retain(|node, incarnation| up.contains(&(*node, *incarnation)));
        for &(node, incarnation) in up {
            self.granted.entry(node).or_insert(Lease { incarnation, ends: now + LEASE_TTL });
        }
        let lapsed = self.granted.iter().filter(|(_, lease)| lease.ends <= now);
        self.condemned.extend(lapsed.map(|(node, lease)| (*node, lease.incarnation)));
        self.condemned.iter().map(|(node, incarnation)| (*node, *incarnation)).collect()
    }

    /// Forgets what it granted: this node may not grant now. What it condemned in this term may yet be committed.
    pub fn pause(&mut self) {
        *self = Self { condemned: std::mem::take(&mut self.condemned), ..Self::default() };
    }

    fn is_late(&self, now: Moment) -> bool {
        self.last_tick.is_none_or(|last| now.since(last) > LEASE_TICK_LATE)
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
        assert_eq!(table.beat(N1, FIRST, Some(FIRST), at(2_100)), Some(Beat::Granted(LEASE_TTL)));
        assert_eq!(tick_until(&mut table, 2_200, 2_000 + ttl()), []);
        assert_eq!(tick_until(&mut table, 2_200 + ttl(), 2_200 + ttl()), [(N1, FIRST)]);
    }

    #[test]
    fn a_beat_of_a_dead_incarnation_is_told_so() {
        let mut table = LeaseTable::default();
        assert_eq!(table.beat(N1, FIRST, Some(Incarnation(11)), at(0)), Some(Beat::Lapsed));
        assert_eq!(table.beat(N1, FIRST, None, at(0)), Some(Beat::Lapsed));
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

    #[test]
    fn a_lease_that_was_called_lapsed_is_never_renewed_however_late_its_end_is_committed() {
        let mut table = LeaseTable::default();
        assert_eq!(tick_until(&mut table, 0, ttl()), [(N1, FIRST)]);
        assert_eq!(table.beat(N1, FIRST, Some(FIRST), at(ttl() + 10)), Some(Beat::Lapsed));
        table.pause();
        assert_eq!(table.tick(&[(N1, FIRST)], at(ttl() + 200)), [(N1, FIRST)]);
        assert_eq!(table.beat(N1, FIRST, Some(FIRST), at(ttl() + 210)), Some(Beat::Lapsed));
        assert_eq!(table.tick(&[(N1, Incarnation(11))], at(ttl() + 400)), []);
        let renewed = table.beat(N1, Incarnation(11), Some(Incarnation(11)), at(ttl() + 410));
        assert_eq!(renewed, Some(Beat::Granted(LEASE_TTL)));
    }

    #[test]
    fn a_leader_that_woke_up_grants_nothing_until_it_can_have_heard_from_a_quorum() {
        let mut table = LeaseTable::default();
        tick_until(&mut table, 0, 1_000);
        let beat = |table: &mut LeaseTable, millis| table.beat(N1, FIRST, Some(FIRST), at(millis));
        assert_eq!(beat(&mut table, 60_000), None, "before the first tick after the sleep");
        tick_until(&mut table, 60_001, 60_001);
        assert_eq!(beat(&mut table, 60_002), None);
        tick_until(&mut table, 60_201, 60_401);
        assert_eq!(beat(&mut table, 60_402), Some(Beat::Granted(LEASE_TTL)));
    }
}
