//! Memory follows the number of devices: what was removed leaves no room behind.

use super::{Violation, ensure};
use crate::model::state::State;

/// The tables find each of their rows, and take no more room than these need.
///
/// # Errors
/// When they do not.
pub fn tables_are_dense(state: &State) -> Result<(), Violation> {
    ensure(state.writer.tables().are_dense(), || "the tables miss rows, or have too much room".into())
}
