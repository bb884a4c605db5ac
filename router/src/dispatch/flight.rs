//! The account of one call that entered through this node: counted while it lasts, and counted once when it ends.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::trip::Trip;
use crate::{
    metrics::Metrics,
    outcome::{Failure, Outcome, Reason},
};

/// Counts a call in, unless there are `limit` already.
pub(super) fn enter(count: &AtomicUsize, limit: usize, metrics: &Metrics) -> bool {
    if count.fetch_add(1, Ordering::Relaxed) >= limit {
        count.fetch_sub(1, Ordering::Relaxed);
        return false;
    }
    metrics.in_flight.increment(1.0);
    true
}

/// Counts a call out.
pub(super) fn leave(count: &AtomicUsize, metrics: &Metrics) {
    count.fetch_sub(1, Ordering::Relaxed);
    metrics.in_flight.decrement(1.0);
}

/// Why no further call is let in.
pub(super) fn too_many() -> Failure {
    Failure::not_executed(Reason::Overloaded, "too many calls are in flight on this node")
}

/// A call in flight. Dropped before [`Self::ended`], it counts as cancelled.
pub(crate) struct Flight<'a> {
    count: &'a AtomicUsize,
    metrics: &'a Metrics,
    ended: bool,
    /// What its way has shown so far.
    pub(crate) trip: Trip,
}

impl<'a> Flight<'a> {
    /// Counts a call in, unless there are `limit` already.
    pub(crate) fn start(count: &'a AtomicUsize, limit: usize, metrics: &'a Metrics) -> Option<Self> {
        enter(count, limit, metrics).then(|| Self { count, metrics, ended: false, trip: Trip::new() })
    }

    /// It was routed so many times before.
    pub(crate) fn after(mut self, attempts: u32) -> Self {
        self.trip.attempts = attempts;
        self
    }

    /// The call ended so.
    pub(crate) fn ended<T>(&mut self, result: &Result<T, Failure>) {
        self.ended = true;
        match result {
            Ok(_) => self.metrics.answered(self.trip.path),
            Err(failure) => self.metrics.failed(self.trip.path, failure),
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        leave(self.count, self.metrics);
        if !self.ended {
            let failure = Failure::new(Reason::Cancelled, Outcome::Unknown, "");
            self.metrics.failed(self.trip.path, &failure);
        }
    }
}
