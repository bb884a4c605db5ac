//! Whoever takes part can read what is written.

use super::{Violation, ensure};
use crate::model::{feature_level::FeatureLevel, state::State};

/// Every node that is up can take part in the cluster's feature level.
///
/// # Errors
/// Names the node.
pub fn level_is_known(state: &State) -> Result<(), Violation> {
    let level = state.cluster.as_ref().map_or(FeatureLevel::FIRST, |cluster| cluster.feature_level);
    state.nodes.values().filter(|node| node.view.up).try_for_each(|node| {
        let known = node.view.feature_level;
        ensure(known >= level, || {
            format!("node {} is up with level {known}, the cluster is at {level}", node.view.id)
        })
    })
}

/// The feature level never falls, whatever happens in between.
///
/// # Errors
/// Names both.
pub fn level_never_falls(before: FeatureLevel, after: FeatureLevel) -> Result<(), Violation> {
    ensure(after >= before, || format!("the feature level fell from {before} to {after}"))
}
