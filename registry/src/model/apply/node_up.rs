//! `NodeUp`: begins a life of a node.

use std::{cmp::Ordering, sync::Arc};

use super::node_down::end_life;
use crate::{
    model::{
        command::NodeUp,
        event::Event,
        ids::{Incarnation, LogIndex},
        rejection::CommandRejection,
        response::Response,
        state::{Applied, Node, State},
    },
    routes::life::Life,
};

/// Begins a life of a node, unless this registration has begun one already, or a newer one is known.
///
/// A life that it replaces ends first, and its sessions with it. A node that cannot take part in the cluster's feature level begins
/// none.
pub(in crate::model) fn node_up(state: &mut State, index: LogIndex, up: &NodeUp) -> Applied {
    let level = match state.founded() {
        Ok(cluster) => cluster.feature_level,
        Err(rejection) => return rejection.into(),
    };
    let node = match state.member(up.node) {
        Ok(node) => node,
        Err(rejection) => return rejection.into(),
    };
    if node.view.storage != up.storage {
        return CommandRejection::StorageMismatch(up.node).into();
    }
    match order(node, up) {
        Ordering::Equal if node.view.up => return Applied::answer(Response::Up(node.view.incarnation)),
        Ordering::Equal | Ordering::Less => return CommandRejection::OlderRegistration(up.node).into(),
        Ordering::Greater if up.feature_level < level => {
            return CommandRejection::LevelTooLow { cluster: level, known: up.feature_level }.into();
        }
        Ordering::Greater => {}
    }
    let incarnation = Incarnation(index.0);
    let mut events: Vec<Event> = end_life(node, up.at).into_iter().collect();
    begin(node, incarnation, up);
    state.publish_roster();
    events.push(Event::NodeUp { node: up.node, incarnation });
    Applied { response: Response::Up(incarnation), events }
}

/// How this registration stands to the node's last one. The first one is newer than none.
fn order(node: &Node, up: &NodeUp) -> Ordering {
    if node.life.is_none() {
        return Ordering::Greater;
    }
    (up.boot, up.registration).cmp(&(node.view.boot, node.registration))
}

fn begin(node: &mut Node, incarnation: Incarnation, up: &NodeUp) {
    node.life = Some(Arc::new(Life::begun(up.node, incarnation)));
    node.last_batch = None;
    node.registration = up.registration;
    node.view.boot = up.boot;
    node.view.incarnation = incarnation;
    node.view.up = true;
    node.view.draining = false;
    node.view.addresses = up.addresses.clone();
    node.view.version = up.version.clone();
    node.view.feature_level = up.feature_level;
}
