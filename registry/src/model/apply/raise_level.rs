//! `RaiseLevel`: lets members write what only newer versions read.

use std::collections::BTreeSet;

use crate::model::{
    command::RaiseLevel,
    event::Event,
    rejection::CommandRejection,
    response::Response,
    state::{Applied, State},
};

/// Raises the level, if the members are those that the proposer judged, in the lives in which they said what they can take part in.
/// Never lowers it: a repeat, or a level that was passed already, changes nothing.
///
/// What the members said is not looked at again: a version from before there were levels may have dropped it from a snapshot, and
/// replicas must not differ in the cluster's level.
pub(in crate::model) fn raise_level(state: &mut State, raise: &RaiseLevel) -> Applied {
    let cluster = match state.cluster.as_mut() {
        Some(cluster) => cluster,
        None => return CommandRejection::NotFounded.into(),
    };
    if raise.level <= cluster.feature_level {
        return Applied::answer(Response::Done);
    }
    let judged: BTreeSet<_> = raise.members.iter().copied().collect();
    let is_new = |view: &crate::routes::view::NodeView| !judged.contains(&(view.id, view.incarnation));
    if let Some(new) = state.nodes.values().map(|node| &node.view).find(|view| is_new(view)) {
        return CommandRejection::NotJudged(new.id).into();
    }
    cluster.feature_level = raise.level;
    state.publish_roster();
    Applied { response: Response::Done, events: vec![Event::LevelRaised { level: raise.level }] }
}
