//! Replicas at the same index are equal.

use super::{Violation, ensure};
use crate::model::state::State;

/// Two replicas say the same if they have applied the same entries.
///
/// # Errors
/// Names the index.
pub fn replicas_equal(one: &State, other: &State) -> Result<(), Violation> {
    let index = one.applied_index();
    ensure(index != other.applied_index() || one.digest() == other.digest(), || {
        format!("two replicas differ at index {index}")
    })
}
