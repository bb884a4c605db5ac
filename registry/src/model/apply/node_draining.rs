//! `NodeDraining`: a node says that it is about to stop.

use crate::model::{
    command::NodeDraining,
    response::Response,
    state::{Applied, State},
};

/// Notes that this life of the node takes no new work, until its next one begins. Its sessions count as before: their devices
/// have been told to move.
pub(in crate::model) fn node_draining(state: &mut State, draining: NodeDraining) -> Applied {
    let node = match state.member(draining.node) {
        Ok(node) => node,
        Err(rejection) => return rejection.into(),
    };
    if node.view.up && node.view.incarnation == draining.incarnation {
        node.view.draining = true;
        state.publish_roster();
    }
    Applied::answer(Response::Done)
}
