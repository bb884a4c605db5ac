//! Node ids are never reused.

use super::{Violation, ensure};
use crate::model::state::State;

/// The next id is greater than all that were given.
///
/// # Errors
/// Names the ids.
pub fn node_ids_rise(state: &State) -> Result<(), Violation> {
    let last = state.nodes.keys().next_back().map_or(0, |id| id.0);
    let next = state.cluster.as_ref().map_or(1, |cluster| cluster.next_node_id);
    ensure(next > last, || format!("the next node id is {next}, and {last} is given already"))
}
