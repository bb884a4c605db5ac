//! `NodeDown`: ends a life of a node.

use crate::model::{
    command::NodeDown,
    event::Event,
    response::Response,
    state::{Applied, State},
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
    node.view.up = false;
    if let Some(life) = &node.life {
        life.end(down.at);
    }
    state.publish_roster();
    let events = vec![Event::NodeDown { node: down.node, incarnation: down.incarnation }];
    Applied { response: Response::Done, events }
}
