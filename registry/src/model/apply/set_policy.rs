//! `SetPolicy`: changes the rules for records.

use crate::model::{
    command::SetPolicy,
    response::Response,
    state::{Applied, State},
};

/// Changes what is named. Sessions that are open stay, whoever may attach from now on.
pub(in crate::model) fn set_policy(state: &mut State, set: SetPolicy) -> Applied {
    let policy = match state.founded() {
        Ok(cluster) => &mut cluster.policy,
        Err(rejection) => return rejection.into(),
    };
    policy.registration = set.registration.unwrap_or(policy.registration);
    policy.record_ttl = set.record_ttl.unwrap_or(policy.record_ttl);
    state.publish_roster();
    Applied::answer(Response::Done)
}
