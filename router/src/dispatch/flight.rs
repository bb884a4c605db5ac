//! The account of one call that entered through this node: counted while it lasts, and counted once when it ends.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::trip::Trip;
use crate::{
    metrics::Metrics,
    outcome::{Failure, Outcome, Reason},
};

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
        if count.fetch_add(1, Ordering::Relaxed) >= limit {
            count.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        metrics.in_flight.increment(1.0);
        Some(Self { count, metrics, ended: false, trip: Trip::new() })
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
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.metrics.in_flight.decrement(1.0);
        if !self.ended {
            let failure = Failure::new(Reason::Cancelled, Outcome::Unknown, "");
            self.metrics.failed(self.trip.path, &failure);
        }
    }
}
