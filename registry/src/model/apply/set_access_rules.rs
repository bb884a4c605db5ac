//! `SetAccessRules`: an administrator stores who may do what.

use std::sync::Arc;

use super::put_device::expected;
use crate::model::{
    command::SetAccessRules,
    policy::AccessRules,
    response::Response,
    state::{Applied, State},
};

/// Puts the text in place of what was stored before; without a text nothing is stored any more. What it says the nodes
/// judge, not the log.
pub(in crate::model) fn set_access_rules(state: &mut State, set: &SetAccessRules) -> Applied {
    let stored = match state.founded() {
        Ok(cluster) => &mut cluster.access_rules,
        Err(rejection) => return rejection.into(),
    };
    let current = stored.as_ref().map(|rules| rules.etag);
    let is_repeat = match current {
        Some(etag) => etag == set.new_etag,
        None => set.text.is_empty(),
    };
    if is_repeat {
        return Applied::answer(Response::Done);
    }
    if let Err(rejection) = expected(current, set.expect) {
        return Applied::answer(Response::Rejected(rejection.into()));
    }
    let rules = AccessRules { etag: set.new_etag, text: Arc::clone(&set.text) };
    *stored = (!set.text.is_empty()).then(|| Arc::new(rules));
    state.publish_roster();
    Applied::answer(Response::Done)
}
