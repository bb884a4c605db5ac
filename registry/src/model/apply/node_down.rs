//! `NodeDown`: ends a life of a node.

use crate::model::{
    command::NodeDown,
    event::Event,
    ids::UnixMillis,
    response::Response,
    state::{Applied, Node, State},
};

/// Ends this life of the node, and with it all its sessions at once: no row is touched, each names its life.
///
/// Of a life that is over already, or that another has followed, nothing is left to do.
pub(in crate::model) fn node_down(state: &mut State, down: &NodeDown) -> Applied {
    let node = match state.member(down.node) {
        Ok(node) => node,
        Err(rejection) => return rejection.into(),
    };
    if !node.view.up || node.view.incarnation != down.incarnation {
        return Applied::answer(Response::Done);
    }
    node.view.floor = node.view.floor.max(down.floor);
    let event = end_life(node, down.at);
    state.publish_roster();
    Applied { response: Response::Done, events: event.into_iter().collect() }
}

/// Ends the node's life, if it has one; says what ended with it.
pub(super) fn end_life(node: &mut Node, at: UnixMillis) -> Option<Event> {
    let was_up = std::mem::replace(&mut node.view.up, false);
    let life = node.life.as_ref()?;
    let sessions = life.sessions();
    life.end(at);
    let (node, incarnation) = (life.node, life.incarnation);
    was_up.then_some(Event::NodeDown { node, incarnation, sessions })
}
