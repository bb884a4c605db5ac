//! A node's own side: whether its lease still holds, looked at before each forwarded delivery.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{
    clock::Moment,
    faults::{self, Switch},
    limits::LEASE_MARGIN,
    model::ids::Incarnation,
};

/// The lease that this node holds, if any. Shared; reading it takes no lock.
#[derive(Debug, Default)]
pub struct HeldLease {
    /// 0: not registered.
    incarnation: AtomicU64,
    /// In milliseconds of [`Moment`]; the margin is taken off already.
    holds_until: AtomicU64,
}

impl HeldLease {
    /// Whether the lease holds at `now`.
    pub fn held(&self, now: Moment) -> bool {
        let until = self.holds_until.load(Ordering::Acquire);
        now.as_millis() < until || (until > 0 && faults::is_on(Switch::LeaseUnwatched))
    }

    /// How long the lease holds from `now` on, if no beat follows. Zero: it does not hold.
    pub fn remaining(&self, now: Moment) -> Duration {
        let until = self.holds_until.load(Ordering::Acquire);
        Duration::from_millis(until.saturating_sub(now.as_millis()))
    }

    /// The incarnation that this node is registered as; 0: none.
    pub fn incarnation(&self) -> Incarnation {
        Incarnation(self.incarnation.load(Ordering::Acquire))
    }

    /// The node is registered; the lease begins with the first beat.
    pub fn registered(&self, incarnation: Incarnation) {
        self.begin(incarnation);
    }

    /// The incarnation is over: nothing holds until the next registration.
    pub fn lapsed(&self) {
        self.begin(Incarnation(0));
    }

    /// The leader says that the incarnation is over; this node's own log will say so as well.
    pub fn refused(&self, incarnation: Incarnation) {
        if self.incarnation() == incarnation {
            self.holds_until.store(0, Ordering::Release);
        }
    }

    /// A beat sent at `sent` for `incarnation` was granted for `ttl`.
    ///
    /// Counted from the sending, so that the answer's delay never makes the node's view longer than the leader's.
    pub fn renewed(&self, incarnation: Incarnation, sent: Moment, ttl: Duration) {
        if self.incarnation() == incarnation {
            let until = sent + ttl.saturating_sub(LEASE_MARGIN);
            self.holds_until.fetch_max(until.as_millis(), Ordering::AcqRel);
            // Apply may have ended the incarnation meanwhile, and its zero come before the line above.
            if self.incarnation() != incarnation {
                self.holds_until.store(0, Ordering::Release);
            }
        }
    }

    /// The incarnation first: who sees the zero sees the incarnation that it belongs to.
    fn begin(&self, incarnation: Incarnation) {
        self.incarnation.store(incarnation.0, Ordering::Release);
        self.holds_until.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LEASE_TTL;

    #[test]
    fn a_lease_ends_a_margin_before_the_leader_ends_it() {
        let lease = HeldLease::default();
        lease.registered(Incarnation(5));
        let sent = Moment::from_millis(1_000);
        lease.renewed(Incarnation(5), sent, LEASE_TTL);
        assert!(lease.held(sent));
        assert!(lease.held(Moment::from_millis((sent + (LEASE_TTL - LEASE_MARGIN)).as_millis() - 1)));
        assert!(!lease.held(sent + (LEASE_TTL - LEASE_MARGIN)));
    }

    #[test]
    fn a_late_grant_of_an_older_incarnation_renews_nothing() {
        let lease = HeldLease::default();
        lease.registered(Incarnation(5));
        lease.lapsed();
        lease.registered(Incarnation(9));
        lease.renewed(Incarnation(5), Moment::from_millis(1_000), LEASE_TTL);
        assert!(!lease.held(Moment::from_millis(1_000)));
    }

    #[test]
    fn a_new_incarnation_does_not_inherit_the_old_ones_lease() {
        let lease = HeldLease::default();
        lease.registered(Incarnation(5));
        lease.renewed(Incarnation(5), Moment::from_millis(1_000), LEASE_TTL);
        lease.registered(Incarnation(9));
        assert!(!lease.held(Moment::from_millis(1_000)));
    }

    #[test]
    fn a_lease_that_the_leader_calls_lapsed_holds_no_more() {
        let lease = HeldLease::default();
        lease.registered(Incarnation(5));
        lease.renewed(Incarnation(5), Moment::from_millis(1_000), LEASE_TTL);
        lease.refused(Incarnation(4));
        assert!(lease.held(Moment::from_millis(1_000)));
        lease.refused(Incarnation(5));
        assert!(!lease.held(Moment::from_millis(1_000)));
    }
}
