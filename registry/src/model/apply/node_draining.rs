//! `NodeDraining`: a node says that it is about to stop.

use crate::model::{
    command::NodeDraining,
    ids::{Incarnation, NodeId},
    rejection::CommandRejection,
    response::Response,
    state::{Applied, State},
};

/// Notes that this life of the node takes no new work, until its next one begins. Its sessions count as before: their devices
/// have been told to move.
///
/// A node that leaves in turn names the lives that it counts on: of two that ask at once the log lets one go.
pub(in crate::model) fn node_draining(state: &mut State, draining: &NodeDraining) -> Applied {
    let waits_for = draining.provided.iter().find(|life| !goes_on(state, **life)).map(|(node, _)| *node);
    let node = match state.member(draining.node) {
        Ok(node) => node,
        Err(rejection) => return rejection.into(),
    };
    if !node.view.up || node.view.incarnation != draining.incarnation || node.view.draining {
        return Applied::answer(Response::Done);
    }
    if let Some(other) = waits_for {
        return CommandRejection::NotInTurn(other).into();
    }
    node.view.draining = true;
    state.publish_roster();
    Applied::answer(Response::Done)
}

fn goes_on(state: &mut State, (node, incarnation): (NodeId, Incarnation)) -> bool {
    let member = state.member(node);
    member.is_ok_and(|node| node.view.up && !node.view.draining && node.view.incarnation == incarnation)
}
