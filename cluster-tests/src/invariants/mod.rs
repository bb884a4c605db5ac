//! What must hold of every history, whatever was broken while it was made: one named function a file.
//!
//! They know nothing of the programs under test and nothing of the faults. Each has a history that turns it red.

mod acknowledged_opens_kept;
mod acknowledged_opens_synced;
mod at_most_once;
mod calls_accounted;
mod epochs_rise;
mod fenced_delivers_nothing;
mod frames_match_routes;
mod honest_outcomes;
mod no_old_epoch;
mod of_history;
mod owner_linearizable;
mod replicas_equal;
mod tables_empty;
#[cfg(test)]
mod testing;
mod within_capacity;

use std::fmt;

pub use self::{
    acknowledged_opens_kept::{Seen, acknowledged_opens_kept},
    acknowledged_opens_synced::acknowledged_opens_synced,
    at_most_once::at_most_once,
    calls_accounted::calls_accounted,
    epochs_rise::epochs_rise,
    fenced_delivers_nothing::{Fenced, fenced_delivers_nothing},
    frames_match_routes::frames_match_routes,
    honest_outcomes::honest_outcomes,
    no_old_epoch::no_old_epoch,
    of_history::of_history,
    owner_linearizable::owner_linearizable,
    replicas_equal::{Replica, replicas_equal},
    tables_empty::tables_empty,
    within_capacity::within_capacity,
};

/// An invariant that a history breaks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The invariant's name.
    pub invariant: &'static str,
    /// What breaks it.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.invariant, self.what)
    }
}

impl Violation {
    /// Breaks `invariant` by `what`.
    pub fn of(invariant: &'static str, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }
}
