//! `SetSuffrage`: whether a node may be promoted without an operator.

use crate::model::{
    command::SetSuffrage,
    response::Response,
    state::{Applied, State},
};

/// Notes how the node comes to vote. Who votes is Raft's own record; the leader acts on this one.
pub(in crate::model) fn set_suffrage(state: &mut State, set: &SetSuffrage) -> Applied {
    match state.member(set.node) {
        Ok(node) => node.view.suffrage = set.suffrage,
        Err(rejection) => return rejection.into(),
    }
    state.publish_roster();
    Applied::answer(Response::Done)
}
