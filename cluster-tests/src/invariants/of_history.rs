//! All that can be asked of a history alone.

use super::{
    Violation, at_most_once, calls_accounted, epochs_rise, frames_match_routes, honest_outcomes,
    no_old_epoch, owner_linearizable, within_capacity,
};
use crate::history::Journal;

/// Asks everything that a journal alone can answer, of devices that take `capacity` calls at once. To be asked when all
/// callers have come back.
pub fn of_history(journal: &Journal, capacity: usize) -> Vec<Violation> {
    let (calls, executions, owners) = (journal.calls(), journal.executions(), journal.owners());
    [
        calls_accounted(&calls),
        at_most_once(&calls, &executions),
        honest_outcomes(&calls, &executions),
        within_capacity(&executions, capacity),
        no_old_epoch(&executions, &owners),
        epochs_rise(&owners),
        owner_linearizable(&owners),
        frames_match_routes(&calls, &journal.replicas()),
    ]
    .concat()
}
