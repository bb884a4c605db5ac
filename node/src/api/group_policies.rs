//! What holds for calls to a group: said, shown, and how long a call may take by it.

use std::time::Duration;

use rollcall_proto::api::{
    GetGroupPolicyRequest, GetGroupPolicyResponse, GroupPolicy as Shown, ListGroupPoliciesRequest,
    ListGroupPoliciesResponse, SetGroupPolicyRequest, SetGroupPolicyResponse,
};
use rollcall_registry::{
    Administration,
    limits::{GROUP_POLICIES, GROUP_TIMEOUT_LEAST, GROUP_TIMEOUT_MOST},
    model::{command::SetGroupPolicy, policy::GroupPolicy},
};
use tonic::Code;

use super::{
    page::Page,
    read::cluster_id,
    status::{Refusal, reason},
    validate::{self, Invalid},
};
use crate::{cluster::Cluster, config::CallLimits};

/// How long a call may take, by the node and by what was said of its group: the shorter maximum counts.
pub(super) fn within(policy: GroupPolicy, limits: &CallLimits) -> CallLimits {
    CallLimits {
        default_timeout: policy.default_timeout.unwrap_or(limits.default_timeout),
        max_timeout: policy.max_timeout.map_or(limits.max_timeout, |most| most.min(limits.max_timeout)),
        ..*limits
    }
}

/// Shows what was said of a group.
pub(super) fn get<C: Cluster>(
    cluster: &C,
    request: &GetGroupPolicyRequest,
) -> Result<GetGroupPolicyResponse, Refusal> {
    validate::name("namespace", &request.namespace)?;
    validate::required("group", &request.group)?;
    let (routes, namespace) = (cluster.routes(), validate::namespace(&request.namespace));
    let index = routes.applied_index().0;
    let policy = shown(namespace, &request.group, routes.group_policy(namespace, &request.group));
    Ok(GetGroupPolicyResponse { policy: Some(policy), index, cluster_id: cluster_id(cluster) })
}

/// The groups of which something was said.
pub(super) fn list<C: Cluster>(
    cluster: &C,
    request: &ListGroupPoliciesRequest,
) -> Result<ListGroupPoliciesResponse, Refusal> {
    validate::name("namespace", &request.namespace)?;
    let (routes, namespace) = (cluster.routes(), validate::namespace(&request.namespace));
    let page = Page::read(request.page_size, &request.page_token, &["group policies", namespace])?;
    let index = routes.applied_index().0;
    let mut said = routes.group_policies_after(namespace, page.after.as_deref(), page.limit());
    let next_page_token = page.cut(&mut said, |(group, _)| group.as_str());
    let policies = said.iter().map(|(group, policy)| shown(namespace, group, *policy)).collect();
    Ok(ListGroupPoliciesResponse { policies, next_page_token, index, cluster_id: cluster_id(cluster) })
}

/// Says what holds for calls to a group.
pub(super) async fn set<C: Cluster>(
    cluster: &C,
    request: SetGroupPolicyRequest,
) -> Result<SetGroupPolicyResponse, Refusal> {
    let wanted = request.policy.unwrap_or_default();
    let set = judge(&wanted)?;
    let (namespace, group, policy) = (set.namespace.clone(), set.group.clone(), set.policy);
    let routes = cluster.routes();
    let is_new =
        policy != GroupPolicy::default() && routes.group_policy(&namespace, &group) == GroupPolicy::default();
    if is_new && routes.group_policies() >= GROUP_POLICIES {
        let words = format!("{GROUP_POLICIES} groups have a policy already");
        return Err(Refusal::new(Code::ResourceExhausted, reason::TOO_MANY_GROUP_POLICIES, words));
    }
    let done = cluster.administer(Administration::SetGroupPolicy(set)).await;
    let index = done.map_err(|error| Refusal::of_administration("", &error))?.0;
    let policy = Some(shown(&namespace, &group, policy));
    Ok(SetGroupPolicyResponse { policy, index, cluster_id: cluster_id(cluster) })
}

fn judge(wanted: &Shown) -> Result<SetGroupPolicy, Invalid> {
    validate::name("policy.namespace", &wanted.namespace)?;
    validate::required("policy.group", &wanted.group)?;
    let policy = GroupPolicy {
        default_timeout: timeout("policy.default_timeout", wanted.default_timeout)?,
        max_timeout: timeout("policy.max_timeout", wanted.max_timeout)?,
    };
    if let (Some(default), Some(most)) = (policy.default_timeout, policy.max_timeout)
        && default > most
    {
        return Err(Invalid::new("policy.default_timeout", "must not be above the maximum"));
    }
    let (namespace, group) = (validate::namespace(&wanted.namespace).into(), wanted.group.as_str().into());
    Ok(SetGroupPolicy { namespace, group, policy })
}

fn timeout(field: &'static str, given: Option<prost_types::Duration>) -> Result<Option<Duration>, Invalid> {
    let Some(given) = given else { return Ok(None) };
    let timeout = Duration::try_from(given).ok();
    // Whole milliseconds, as they are stored.
    let millis = timeout
        .filter(|timeout| (GROUP_TIMEOUT_LEAST..=GROUP_TIMEOUT_MOST).contains(timeout))
        .and_then(|timeout| u64::try_from(timeout.as_millis()).ok());
    millis
        .map(|millis| Some(Duration::from_millis(millis)))
        .ok_or_else(|| Invalid::new(field, "must be 1 ms to 24 h"))
}

fn shown(namespace: &str, group: &str, policy: GroupPolicy) -> Shown {
    let part = |timeout: Option<Duration>| timeout.and_then(|timeout| timeout.try_into().ok());
    Shown {
        namespace: namespace.to_owned(),
        group: group.to_owned(),
        default_timeout: part(policy.default_timeout),
        max_timeout: part(policy.max_timeout),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn node() -> CallLimits {
        CallLimits { default_timeout: 30 * SECOND, max_timeout: 300 * SECOND, max_payload_bytes: 1024 }
    }

    fn by(default_timeout: Option<Duration>, max_timeout: Option<Duration>) -> (Duration, Duration) {
        let limits = within(GroupPolicy { default_timeout, max_timeout }, &node());
        (limits.default_timeout, limits.max_timeout)
    }

    #[test]
    fn a_group_may_wait_less_than_the_node_lets_it_and_never_longer() {
        assert_eq!(by(None, None), (30 * SECOND, 300 * SECOND));
        assert_eq!(by(Some(5 * SECOND), None), (5 * SECOND, 300 * SECOND));
        assert_eq!(by(None, Some(60 * SECOND)), (30 * SECOND, 60 * SECOND));
        assert_eq!(by(Some(60 * SECOND), Some(900 * SECOND)), (60 * SECOND, 300 * SECOND));
    }

    #[test]
    fn what_no_call_could_keep_is_refused() {
        let policy = |group: &str, default: Option<(i64, i32)>, most: Option<(i64, i32)>| {
            let part = |given: Option<(i64, i32)>| {
                given.map(|(seconds, nanos)| prost_types::Duration { seconds, nanos })
            };
            let wanted = Shown {
                group: group.to_owned(),
                default_timeout: part(default),
                max_timeout: part(most),
                ..Shown::default()
            };
            judge(&wanted).map(|set| set.policy).map_err(|invalid| invalid.field)
        };
        let kept = GroupPolicy { default_timeout: Some(SECOND), max_timeout: Some(2 * SECOND) };
        assert_eq!(policy("sign", Some((1, 999_999)), Some((2, 0))), Ok(kept));
        assert_eq!(policy("sign", None, None), Ok(GroupPolicy::default()));
        assert_eq!(policy("", Some((1, 0)), None), Err("policy.group"));
        assert_eq!(policy("sign", Some((0, 0)), None), Err("policy.default_timeout"));
        assert_eq!(policy("sign", None, Some((-1, 0))), Err("policy.max_timeout"));
        assert_eq!(policy("sign", None, Some((86_401, 0))), Err("policy.max_timeout"));
        assert_eq!(policy("sign", Some((3, 0)), Some((2, 0))), Err("policy.default_timeout"));
    }
}
