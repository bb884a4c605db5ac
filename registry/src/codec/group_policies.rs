//! What is said of groups: the command, and the record of a snapshot.

use std::time::Duration;

use compact_str::CompactString;
use rollcall_proto::storage as proto;

use super::CodecError;
use crate::model::{command::SetGroupPolicy, policy::GroupPolicy};

pub(super) fn set_group_policy_to_proto(set: &SetGroupPolicy) -> proto::SetGroupPolicy {
    proto::SetGroupPolicy {
        namespace: set.namespace.to_string(),
        group: set.group.to_string(),
        default_timeout_ms: timeout_to_proto(set.policy.default_timeout),
        max_timeout_ms: timeout_to_proto(set.policy.max_timeout),
    }
}

pub(super) fn set_group_policy_from_proto(set: proto::SetGroupPolicy) -> SetGroupPolicy {
    SetGroupPolicy {
        namespace: set.namespace.into(),
        group: set.group.into(),
        policy: GroupPolicy {
            default_timeout: timeout_from_proto(set.default_timeout_ms),
            max_timeout: timeout_from_proto(set.max_timeout_ms),
        },
    }
}

pub(crate) fn group_policy_to_proto(
    namespace: &CompactString,
    group: &CompactString,
    policy: GroupPolicy,
) -> proto::GroupPolicyRecord {
    proto::GroupPolicyRecord {
        namespace: namespace.to_string(),
        group: group.to_string(),
        default_timeout_ms: timeout_to_proto(policy.default_timeout),
        max_timeout_ms: timeout_to_proto(policy.max_timeout),
    }
}

/// # Errors
/// A record that says nothing: none such is written.
pub(crate) fn group_policy_from_proto(
    record: proto::GroupPolicyRecord,
) -> Result<SetGroupPolicy, CodecError> {
    let policy = GroupPolicy {
        default_timeout: timeout_from_proto(record.default_timeout_ms),
        max_timeout: timeout_from_proto(record.max_timeout_ms),
    };
    if policy == GroupPolicy::default() {
        return Err(CodecError::Missing("what holds for a group"));
    }
    Ok(SetGroupPolicy { namespace: record.namespace.into(), group: record.group.into(), policy })
}

/// Whole milliseconds, at least one: 0 stands for what is not said.
fn timeout_to_proto(timeout: Option<Duration>) -> u64 {
    timeout.map_or(0, |timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1))
}

fn timeout_from_proto(millis: u64) -> Option<Duration> {
    (millis != 0).then(|| Duration::from_millis(millis))
}
