//! What must hold of a state after each entry: named functions, one file each, for tests, simulation and fault runs.
//!
//! They read every row, some of them several times: not for production.

mod counts_equal_rows;
mod epochs_rise;
mod group_index_equals_rows;
mod late_close;
mod level_is_known;
mod node_ids_rise;
mod one_valid_holder;
mod records_are_in_force;
mod replicas_equal;
mod tables_are_dense;

use std::fmt;

pub use counts_equal_rows::counts_equal_rows;
pub use epochs_rise::EpochHistory;
pub use group_index_equals_rows::group_index_equals_rows;
pub use late_close::a_late_close_removes_nothing;
pub use level_is_known::{level_is_known, level_never_falls};
pub use node_ids_rise::node_ids_rise;
pub use one_valid_holder::one_valid_holder;
pub use records_are_in_force::records_are_in_force;
pub use replicas_equal::replicas_equal;
pub use tables_are_dense::tables_are_dense;

use super::state::State;
use crate::routes::row::Row;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Violation {}

/// Checks all invariants that one state shows by itself.
///
/// # Errors
/// The first one that does not hold.
pub fn check(state: &State) -> Result<(), Violation> {
    one_valid_holder(state)?;
    counts_equal_rows(state)?;
    group_index_equals_rows(state)?;
    records_are_in_force(state)?;
    tables_are_dense(state)?;
    level_is_known(state)?;
    node_ids_rise(state)
}

fn ensure(holds: bool, violation: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation(violation())) }
}

/// All rows, in no order.
fn rows(state: &State) -> Vec<Row> {
    let chunks = state.writer.tables().chunks();
    chunks.iter().flat_map(|chunk| chunk.iter().flatten().cloned()).collect()
}
