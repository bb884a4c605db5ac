//! What was said of groups, as readers see it.

use std::ops::Bound;

use compact_str::CompactString;

use super::Routes;
use crate::model::policy::GroupPolicy;

impl Routes {
    /// What holds for calls to a group; nothing, if nothing was said. Takes no lock.
    pub fn group_policy(&self, namespace: &str, group: &str) -> GroupPolicy {
        let tables = self.tables.load();
        let roster = tables.roster.load();
        roster.group_policies.get(namespace, group).unwrap_or_default()
    }

    /// Of how many groups something was said, in all namespaces.
    pub fn group_policies(&self) -> usize {
        self.tables.load().roster.load().group_policies.len()
    }

    /// The next `limit` groups of a namespace of which something was said, in the order of their names, behind `after`.
    pub fn group_policies_after(
        &self,
        namespace: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<(CompactString, GroupPolicy)> {
        let tables = self.tables.load();
        let roster = tables.roster.load();
        let Some(groups) = roster.group_policies.of(namespace) else { return Vec::new() };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = groups.range::<str, _>((from, Bound::Unbounded));
        range.take(limit).map(|(group, policy)| (group.clone(), *policy)).collect()
    }
}
