//! The account of one call that entered through this node: counted while it lasts, and counted once when it ends.

use std::sync::atomic::{AtomicUsize, Ordering};

use rollcall_registry::faults::{self, Switch};

use super::trip::Trip;
use crate::{
    core::pressure::{Work, jittered},
    outcome::{Failure, Outcome, Reason},
    sessions::host::Shared,
};

/// Counts a call in, unless the node is pressed too hard or there are `limit` already.
///
/// # Errors
/// `OVERLOADED`, with advice on when to call again.
pub(super) fn enter(count: &AtomicUsize, limit: usize, shared: &Shared) -> Result<(), Failure> {
    let before = count.fetch_add(1, Ordering::Relaxed);
    let entered = if before < limit {
        shared.vitals.take_on(Work::Call, before, &shared.metrics)
    } else {
        shared.metrics.shed(Work::Call);
        Err(shared.vitals.overloaded(before, "too many calls are in flight on this node"))
    };
    if let Err(failure) = entered {
        count.fetch_sub(1, Ordering::Relaxed);
        return Err(advised(failure));
    }
    shared.metrics.in_flight.increment(1.0);
    Ok(())
}

/// Counts a call out.
pub(super) fn leave(count: &AtomicUsize, shared: &Shared) {
    count.fetch_sub(1, Ordering::Relaxed);
    shared.vitals.call_ended();
    shared.metrics.in_flight.decrement(1.0);
}

/// Many callers get the same advice at once: each gets its own.
pub(super) fn advised(failure: Failure) -> Failure {
    let retry_after = failure.retry_after.map(|wait| jittered(wait, rand::random()));
    Failure { retry_after, ..failure }
}

/// A call in flight. Dropped before [`Self::ended`], it counts as cancelled.
pub(crate) struct Flight<'a> {
    count: &'a AtomicUsize,
    shared: &'a Shared,
    ended: bool,
    /// What its way has shown so far.
    pub(crate) trip: Trip,
}

impl<'a> Flight<'a> {
    /// Counts a call in, unless there are `limit` already.
    ///
    /// # Errors
    /// See [`enter`].
    pub(crate) fn start(count: &'a AtomicUsize, limit: usize, shared: &'a Shared) -> Result<Self, Failure> {
        enter(count, limit, shared)?;
        Ok(Self { count, shared, ended: false, trip: Trip::new() })
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
            Ok(_) => self.shared.metrics.answered(self.trip.path),
            Err(failure) => self.shared.metrics.failed(self.trip.path, failure),
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if !self.ended && faults::is_on(Switch::PendingLeaked) {
            return;
        }
        leave(self.count, self.shared);
        if !self.ended {
            let failure = Failure::new(Reason::Cancelled, Outcome::Unknown, "");
            self.shared.metrics.failed(self.trip.path, &failure);
        }
    }
}
