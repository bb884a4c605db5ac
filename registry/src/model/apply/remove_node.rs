//! `RemoveNode`: takes a node out of the registry for good.

use super::node_down::end_life;
use crate::model::{
    command::RemoveNode,
    event::Event,
    response::Response,
    state::{Applied, State},
};

/// Forgets the node, and ends all its sessions at once: no row is touched, each names its life.
///
/// Its id is not given again, its name may be: to a newcomer with another id.
pub(in crate::model) fn remove_node(state: &mut State, remove: &RemoveNode) -> Applied {
    if let Err(rejection) = state.member(remove.node) {
        return rejection.into();
    }
    let mut events = Vec::new();
    if let Some(mut node) = state.nodes.remove(&remove.node) {
        events.extend(end_life(&mut node, remove.at));
    }
    events.push(Event::NodeRemoved { node: remove.node });
    state.publish_roster();
    Applied { response: Response::Done, events }
}
