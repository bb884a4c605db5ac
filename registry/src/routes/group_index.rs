//! The groups and the cohorts in each: a look-up by group reads counts of cohorts, never rows.

use std::{collections::BTreeMap, sync::Arc};

use compact_str::CompactString;
use indexmap::IndexMap;

use super::cohort::Cohort;

/// The cohorts of a group, by their id; closed and disabled ones too, and some that have no rows any more.
#[derive(Debug, Default)]
pub(super) struct Group {
    cohorts: IndexMap<u64, Arc<Cohort>>,
}

impl Group {
    /// Whether any device belongs to it, connected or not.
    pub(super) fn has_devices(&self) -> bool {
        self.cohorts.values().any(|cohort| cohort.count() > 0)
    }

    /// Its cohorts, in no order.
    pub(super) fn cohorts(&self) -> impl Iterator<Item = &Arc<Cohort>> {
        self.cohorts.values()
    }
}

/// All groups, by namespace and name. A group may outlive its devices for a while, as its cohorts may.
#[derive(Debug, Default)]
pub(super) struct GroupIndex {
    namespaces: BTreeMap<CompactString, BTreeMap<CompactString, Group>>,
}

impl GroupIndex {
    /// A group.
    pub(super) fn group(&self, namespace: &str, group: &str) -> Option<&Group> {
        self.namespaces.get(namespace)?.get(group)
    }

    /// A namespace's groups, in the order of their names.
    pub(super) fn groups(&self, namespace: &str) -> Option<&BTreeMap<CompactString, Group>> {
        self.namespaces.get(namespace)
    }

    /// All namespaces with devices in groups, in order.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &CompactString> {
        let populated = |groups: &BTreeMap<_, Group>| groups.values().any(Group::has_devices);
        self.namespaces.iter().filter(move |(_, groups)| populated(groups)).map(|(name, _)| name)
    }

    /// Adds a cohort to the groups of its profile.
    pub(super) fn add(&mut self, cohort: &Arc<Cohort>) {
        if cohort.profile.groups.is_empty() {
            return;
        }
        let groups = self.namespaces.entry(cohort.namespace.clone()).or_default();
        for name in &cohort.profile.groups {
            groups.entry(name.clone()).or_default().cohorts.insert(cohort.id, Arc::clone(cohort));
        }
    }

    /// Removes a cohort from the groups of its profile, and the groups that are empty then.
    pub(super) fn remove(&mut self, cohort: &Cohort) {
        let Some(groups) = self.namespaces.get_mut(&cohort.namespace) else { return };
        for name in &cohort.profile.groups {
            let Some(group) = groups.get_mut(name) else { continue };
            group.cohorts.swap_remove(&cohort.id);
            if group.cohorts.capacity() > 64 && group.cohorts.len() * 8 < group.cohorts.capacity() {
                group.cohorts.shrink_to(group.cohorts.len() * 2);
            }
            if group.cohorts.is_empty() {
                groups.remove(name);
            }
        }
        if groups.is_empty() {
            self.namespaces.remove(&cohort.namespace);
        }
    }
}
