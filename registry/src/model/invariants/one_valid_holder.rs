//! At most one valid holder of a device, and it is a node that is up in that incarnation.

use std::collections::HashSet;

use super::{Violation, ensure, rows};
use crate::{
    model::{ids::DeviceKey, state::State},
    routes::row::Row,
};

/// Each device has one row, and a session is valid exactly if the node's record says so.
///
/// # Errors
/// Names the device.
pub fn one_valid_holder(state: &State) -> Result<(), Violation> {
    let mut seen = HashSet::new();
    for row in rows(state) {
        let key = DeviceKey { namespace: row.cohort.namespace.clone(), device: row.device.clone() };
        ensure(row.valid_session().is_some() == is_held(state, &row), || {
            format!("{key}: its session is valid on one side only, of its row and the nodes' records")
        })?;
        let found = state.routes().device(&key).and_then(|view| view.session);
        ensure(found == row.valid_session(), || format!("{key}: the look-up finds another session"))?;
        ensure(seen.insert(key.clone()), || format!("{key}: it has two rows"))?;
    }
    Ok(())
}

/// By the nodes' records, not by the lives that rows share.
fn is_held(state: &State, row: &Row) -> bool {
    row.open_session().is_some_and(|session| {
        let node = state.nodes.get(&session.node);
        node.is_some_and(|node| node.view.up && node.view.incarnation == session.incarnation)
    })
}
