//! `SetGroupPolicy`: says what holds for calls to a group.

use std::sync::Arc;

use crate::{
    limits::GROUP_POLICIES,
    model::{
        command::SetGroupPolicy,
        policy::GroupPolicy,
        rejection::CommandRejection,
        response::Response,
        state::{Applied, State},
    },
};

/// What was said before is no more. Calls that have arrived keep the deadline that they got.
pub(in crate::model) fn set_group_policy(state: &mut State, set: &SetGroupPolicy) -> Applied {
    let policies = match state.founded() {
        Ok(cluster) => &mut cluster.group_policies,
        Err(rejection) => return rejection.into(),
    };
    let is_new = policies.get(&set.namespace, &set.group).is_none() && set.policy != GroupPolicy::default();
    if is_new && policies.len() >= GROUP_POLICIES {
        return CommandRejection::TooManyGroupPolicies.into();
    }
    // Readers keep the table of their moment, so the first change after each copies it.
    Arc::make_mut(policies).set(&set.namespace, &set.group, set.policy);
    state.publish_roster();
    Applied::answer(Response::Done)
}
