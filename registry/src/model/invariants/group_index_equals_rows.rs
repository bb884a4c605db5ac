//! Each answer by group equals the one that reading all rows gives.

use std::collections::{BTreeMap, BTreeSet};

use compact_str::CompactString;

use super::{Violation, ensure, rows};
use crate::{
    model::{ids::NodeId, state::State},
    routes::{
        row::Row,
        view::{Candidate, GroupMatch, GroupView},
    },
};

/// Group lists, candidates and members of each group, for each action and each label that its devices have.
///
/// # Errors
/// Names the group.
pub fn group_index_equals_rows(state: &State) -> Result<(), Violation> {
    let rows = rows(state);
    let namespaces: BTreeSet<&CompactString> = rows.iter().map(|row| &row.cohort.namespace).collect();
    for namespace in namespaces {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.cohort.namespace == *namespace).collect();
        let groups: BTreeSet<&CompactString> =
            rows.iter().flat_map(|row| &row.cohort.profile.groups).collect();
        let listed = state.routes().groups_after(namespace, None, usize::MAX);
        let expected: Vec<GroupView> = groups.iter().map(|group| group_view(group, &rows)).collect();
        ensure(listed == expected, || format!("{namespace}: groups {listed:?}, by rows {expected:?}"))?;
        for group in groups {
            check_group(state, namespace, group, &rows)?;
        }
    }
    Ok(())
}

fn group_view(group: &CompactString, rows: &[&Row]) -> GroupView {
    let members = rows.iter().filter(|row| row.cohort.profile.belongs_to(group));
    let connected: Vec<_> = members.filter(|row| row.valid_session().is_some()).collect();
    GroupView {
        name: group.clone(),
        connected: connected.len() as u64,
        capacity: connected.iter().map(|row| u64::from(row.cohort.profile.capacity)).sum(),
    }
}

fn check_group(state: &State, namespace: &str, group: &str, rows: &[&Row]) -> Result<(), Violation> {
    let profiles = || rows.iter().map(|row| &row.cohort.profile);
    let mut actions: BTreeSet<&str> =
        profiles().flat_map(|profile| profile.actions.iter().map(CompactString::as_str)).collect();
    actions.insert("an action that no device offers");
    let labels: BTreeSet<(&str, &str)> = profiles()
        .flat_map(|profile| profile.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())))
        .collect();
    let queries = std::iter::once(vec![]).chain(labels.into_iter().map(|label| vec![label]));
    for labels in queries {
        for action in &actions {
            check_query(state, namespace, group, action, &labels, rows)?;
        }
    }
    Ok(())
}

fn check_query(
    state: &State,
    namespace: &str,
    group: &str,
    action: &str,
    labels: &[(&str, &str)],
    rows: &[&Row],
) -> Result<(), Violation> {
    let there: Vec<&&Row> = rows
        .iter()
        .filter(|row| row.cohort.enabled && row.valid_session().is_some())
        .filter(|row| row.cohort.profile.belongs_to(group))
        .filter(|row| row.cohort.profile.carries(labels.iter().copied()))
        .collect();
    let offering = || there.iter().filter(|row| row.cohort.profile.offers(action));
    let mut expected: BTreeMap<NodeId, Candidate> = BTreeMap::new();
    for (row, session) in offering().filter_map(|row| row.valid_session().map(|session| (row, session))) {
        let empty = Candidate { node: session.node, devices: 0, capacity: 0 };
        let candidate = expected.entry(session.node).or_insert(empty);
        candidate.devices += 1;
        candidate.capacity += u64::from(row.cohort.profile.capacity);
    }
    let expected_match = match (there.is_empty(), expected.is_empty()) {
        (true, _) => GroupMatch::NoDevice,
        (false, true) => GroupMatch::ActionUnknown,
        (false, false) => GroupMatch::Found,
    };
    let name = || format!("{namespace}/{group}, action {action}, labels {labels:?}");
    let mut found = Vec::new();
    let matched = state.routes().candidates(namespace, group, action, labels, &mut found);
    ensure(matched == expected_match, || format!("{}: {matched:?}, not {expected_match:?}", name()))?;
    ensure(found.iter().eq(expected.values()), || format!("{}: {found:?}, not {expected:?}", name()))?;
    let mut members = Vec::new();
    state.routes().members(namespace, group, action, labels, &mut members);
    let members: BTreeSet<CompactString> = members.into_iter().map(|member| member.device).collect();
    let expected = offering().map(|row| row.device.clone()).collect();
    ensure(members == expected, || format!("{}: members {members:?}, not {expected:?}", name()))
}
