//! The rules for records (who may attach, and how long a record stays that nobody uses), those for calls to a group, and who
//! may do what.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use compact_str::CompactString;

use super::ids::Etag;
use crate::limits::RECORD_TTL;

/// Which devices may attach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RegistrationMode {
    /// Any; the first attach makes the record.
    #[default]
    Open,
    /// Those that have a record, whoever made it. Nothing expires meanwhile: its device could not come back.
    Known,
}

/// The rules for records, the same on all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Which devices may attach.
    pub registration: RegistrationMode,
    /// How long a record that its device made by itself stays without a session; whole milliseconds.
    pub record_ttl: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { registration: RegistrationMode::default(), record_ttl: RECORD_TTL }
    }
}

/// Who may do what, as administrators stored it, the same on all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRules {
    /// Of this version of them.
    pub etag: Etag,
    /// The text of a file of `access`, at most [`crate::limits::ACCESS_RULES_BYTES`] of it; not empty.
    pub text: Arc<str>,
}

/// What holds for calls to a group, the same on all nodes; nothing by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupPolicy {
    /// How long a call may take whose caller does not say; whole milliseconds, not zero. `None`: as the node has it.
    pub default_timeout: Option<Duration>,
    /// How long any call may take; whole milliseconds, not zero. `None`: as the node has it.
    pub max_timeout: Option<Duration>,
}

/// The groups of which something was said, by namespace and name; at most [`crate::limits::GROUP_POLICIES`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GroupPolicies {
    namespaces: BTreeMap<CompactString, BTreeMap<CompactString, GroupPolicy>>,
}

impl GroupPolicies {
    /// Of how many groups something was said.
    pub(crate) fn len(&self) -> usize {
        self.namespaces.values().map(BTreeMap::len).sum()
    }

    /// What was said of a group.
    pub(crate) fn get(&self, namespace: &str, group: &str) -> Option<GroupPolicy> {
        self.namespaces.get(namespace)?.get(group).copied()
    }

    /// Says it, in place of what was said before. Nothing: the group is forgotten.
    pub(crate) fn set(&mut self, namespace: &CompactString, group: &CompactString, policy: GroupPolicy) {
        if policy != GroupPolicy::default() {
            self.namespaces.entry(namespace.clone()).or_default().insert(group.clone(), policy);
        } else if let Some(groups) = self.namespaces.get_mut(namespace) {
            groups.remove(group);
            if groups.is_empty() {
                self.namespaces.remove(namespace);
            }
        }
    }

    /// A namespace's groups, in the order of their names.
    pub(crate) fn of(&self, namespace: &str) -> Option<&BTreeMap<CompactString, GroupPolicy>> {
        self.namespaces.get(namespace)
    }

    /// All of them, in the order of namespaces and names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&CompactString, &CompactString, GroupPolicy)> {
        let named = |(namespace, groups)| {
            let groups: &BTreeMap<CompactString, GroupPolicy> = groups;
            groups.iter().map(move |(group, policy)| (namespace, group, *policy))
        };
        self.namespaces.iter().flat_map(named)
    }
}
