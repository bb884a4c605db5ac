//! What is counted as rows change equals what counting all rows gives.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::{Violation, ensure, rows};
use crate::{
    limits::LINGERING_COHORTS,
    model::{ids::NodeId, profile::Profile, state::State},
    routes::{row::Row, view::Counts},
};

/// The counts of devices and sessions, in all and by node, and of the cohorts and profiles; of those without rows only
/// a few are kept.
///
/// # Errors
/// Names the count.
pub fn counts_equal_rows(state: &State) -> Result<(), Violation> {
    let rows = rows(state);
    let mut by_node: BTreeMap<NodeId, u64> = BTreeMap::new();
    for session in rows.iter().filter_map(Row::valid_session) {
        *by_node.entry(session.node).or_default() += 1;
    }
    let expected = Counts { devices: rows.len() as u64, sessions: by_node.values().sum() };
    let counts = state.routes().counts();
    ensure(counts == expected, || format!("{counts:?} are counted, the rows are {expected:?}"))?;
    for node in state.nodes.keys() {
        let (counted, expected) =
            (state.routes().sessions_of(*node), by_node.get(node).copied().unwrap_or(0));
        ensure(counted == expected, || format!("node {node}: {counted} counted, {expected} rows"))?;
    }
    cohorts_equal_rows(state, &rows)
}

fn cohorts_equal_rows(state: &State, rows: &[Row]) -> Result<(), Violation> {
    let mut expected: HashMap<_, u32> = HashMap::new();
    for row in rows {
        *expected.entry(Arc::as_ptr(&row.cohort)).or_default() += 1;
    }
    let mut counted = HashMap::new();
    for cohort in state.writer.cohorts() {
        ensure(cohort.members().len() == cohort.count() as usize, || "a cohort's count is off".into())?;
        counted.insert(Arc::as_ptr(cohort), cohort.count());
    }
    let all = counted.len();
    counted.retain(|_, count| *count > 0);
    let empty = all - counted.len();
    ensure(empty <= LINGERING_COHORTS, || format!("{empty} cohorts without rows are kept"))?;
    ensure(counted == expected, || "the cohorts are not those of the rows".into())?;
    let of_row = |row: &'_ Row| [row.cohort.own.clone(), row.cohort.profile.clone()];
    let profiles: HashSet<Arc<Profile>> = rows.iter().flat_map(of_row).collect();
    let (kept, used) = (state.writer.profiles(), profiles.len());
    let fits = (used..=used + 2 * LINGERING_COHORTS).contains(&kept);
    ensure(fits, || format!("{kept} profiles are kept, {used} are in use"))
}
