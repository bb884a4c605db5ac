//! `AdmitNode`: gives a node its id.

use crate::model::{
    command::AdmitNode,
    ids::NodeId,
    rejection::CommandRejection,
    response::Response,
    state::{Applied, State},
};

/// Allocates an id for a new name; a known name keeps its id as long as it comes with the same data folder.
pub(in crate::model) fn admit_node(state: &mut State, admit: &AdmitNode) -> Applied {
    let level = match state.founded() {
        Ok(cluster) => cluster.feature_level,
        Err(rejection) => return rejection.into(),
    };
    if admit.feature_level < level {
        return CommandRejection::LevelTooLow { cluster: level, known: admit.feature_level }.into();
    }
    let known = state.nodes.values_mut().find(|node| node.view.name == admit.name);
    let Some(node) = known else { return allocate(state, admit) };
    let id = node.view.id;
    if node.view.storage != admit.storage {
        return CommandRejection::NameTaken { name: admit.name.to_string(), node: id }.into();
    }
    node.view.addresses = admit.addresses.clone();
    if node.life.is_none() {
        node.view.feature_level = admit.feature_level;
    }
    state.publish_roster();
    Applied::answer(Response::Admitted(id))
}

fn allocate(state: &mut State, admit: &AdmitNode) -> Applied {
    let id = match state.founded() {
        Ok(cluster) => {
            let id = NodeId(cluster.next_node_id);
            cluster.next_node_id = cluster.next_node_id.saturating_add(1);
            id
        }
        Err(rejection) => return rejection.into(),
    };
    let event = state.enroll(id, &admit.name, admit.storage, &admit.addresses, admit.feature_level);
    state.publish_roster();
    Applied { response: Response::Admitted(id), events: vec![event] }
}
