//! Look-ups by group, and the listing of groups.

use std::{ops::Bound, sync::Arc};

use super::{
    Routes,
    cohort::Cohort,
    group_index::Group,
    tables::Tables,
    view::{Candidate, GroupMatch, GroupView, Member},
};
use crate::{limits::MEMBERS_TRIES, model::ids::namespace_or_default};

impl Routes {
    /// The nodes that hold matching devices of a group, by node id; `out` is cleared first.
    ///
    /// Takes time by the different profiles of the group, not by its devices.
    pub fn candidates(
        &self,
        namespace: &str,
        group: &str,
        action: &str,
        labels: &[(&str, &str)],
        out: &mut Vec<Candidate>,
    ) -> GroupMatch {
        out.clear();
        let tables = self.tables.load();
        let groups = tables.groups.read();
        let Some(group) = groups.group(namespace_or_default(namespace), group) else {
            return GroupMatch::NoDevice;
        };
        let mut result = GroupMatch::NoDevice;
        for cohort in group.cohorts().filter(|cohort| can_take(cohort, labels)) {
            if !cohort.profile.offers(action) {
                result = result.or_action_unknown();
            } else if count(cohort, out) {
                result = GroupMatch::Found;
            }
        }
        out.sort_unstable_by_key(|candidate| candidate.node);
        result
    }

    /// The connected and enabled devices of a group that carry the labels and offer the action, in no order; `out`
    /// is cleared first.
    ///
    /// Takes time by the number of devices, each under its own lock: see [`Self::candidates`] for the usual call.
    pub fn members(
        &self,
        namespace: &str,
        group: &str,
        action: &str,
        labels: &[(&str, &str)],
        out: &mut Vec<Member>,
    ) {
        let tables = self.tables.load();
        for _ in 0..MEMBERS_TRIES {
            let moves = tables.moves();
            list_members(&tables, namespace_or_default(namespace), group, action, labels, out);
            if tables.moves() == moves {
                return;
            }
        }
    }

    /// Up to `limit` groups whose name is greater than `after`, in the order of their names. A group is there as
    /// long as a device belongs to it, connected or not.
    pub fn groups_after(&self, namespace: &str, after: Option<&str>, limit: usize) -> Vec<GroupView> {
        let tables = self.tables.load();
        let index = tables.groups.read();
        let Some(groups) = index.groups(namespace_or_default(namespace)) else { return Vec::new() };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = groups.range::<str, _>((from, Bound::Unbounded)).filter(|(_, group)| group.has_devices());
        page.take(limit).map(|(name, group)| view_of(name, group)).collect()
    }

    /// All namespaces that have groups, in order.
    pub fn namespaces(&self) -> Vec<compact_str::CompactString> {
        let tables = self.tables.load();
        let groups = tables.groups.read();
        groups.namespaces().cloned().collect()
    }
}

fn list_members(
    tables: &Tables,
    namespace: &str,
    group: &str,
    action: &str,
    labels: &[(&str, &str)],
    out: &mut Vec<Member>,
) {
    out.clear();
    let cohorts: Vec<Arc<Cohort>> = {
        let groups = tables.groups.read();
        let Some(group) = groups.group(namespace, group) else { return };
        let offer = |cohort: &&Arc<Cohort>| can_take(cohort, labels) && cohort.profile.offers(action);
        group.cohorts().filter(offer).cloned().collect()
    };
    for cohort in &cohorts {
        for number in cohort.members() {
            let member = tables.read_number(number, |row| {
                // It may have moved on since the members were copied.
                let session = row.valid_session().filter(|_| Arc::ptr_eq(&row.cohort, cohort))?;
                let capacity = cohort.profile.capacity;
                Some(Member { device: row.device.clone(), session, capacity })
            });
            out.extend(member.flatten());
        }
    }
}

fn can_take(cohort: &Cohort, labels: &[(&str, &str)]) -> bool {
    cohort.enabled
        && cohort.valid_holder().is_some()
        && cohort.count() > 0
        && cohort.profile.carries(labels.iter().copied())
}

/// Adds a cohort's devices to those of its node; says whether there are any.
fn count(cohort: &Cohort, out: &mut Vec<Candidate>) -> bool {
    let Some(holder) = &cohort.holder else { return false };
    let devices = cohort.count();
    if devices == 0 {
        return false;
    }
    let capacity = u64::from(devices) * u64::from(cohort.profile.capacity);
    match out.iter_mut().find(|candidate| candidate.node == holder.node) {
        Some(candidate) => {
            candidate.devices = candidate.devices.saturating_add(devices);
            candidate.capacity = candidate.capacity.saturating_add(capacity);
        }
        None => out.push(Candidate { node: holder.node, devices, capacity }),
    }
    true
}

fn view_of(name: &compact_str::CompactString, group: &Group) -> GroupView {
    let mut view = GroupView { name: name.clone(), connected: 0, capacity: 0 };
    for cohort in group.cohorts().filter(|cohort| cohort.valid_holder().is_some()) {
        let devices = u64::from(cohort.count());
        view.connected += devices;
        view.capacity = view.capacity.saturating_add(devices * u64::from(cohort.profile.capacity));
    }
    view
}

impl GroupMatch {
    /// With a device that carries the labels but does not offer the action.
    fn or_action_unknown(self) -> Self {
        match self {
            Self::NoDevice | Self::ActionUnknown => Self::ActionUnknown,
            Self::Found => Self::Found,
        }
    }
}
