//! `FoundCluster`: the first command of a cluster, once.

use std::sync::Arc;

use crate::model::{
    command::FoundCluster,
    feature_level::FeatureLevel,
    policy::Policy,
    rejection::CommandRejection,
    response::Response,
    state::{Applied, Cluster, State},
};

/// Founds the cluster with its first members. A repeat with the same id changes nothing.
pub(in crate::model) fn found_cluster(state: &mut State, found: &FoundCluster) -> Applied {
    if let Some(cluster) = &state.cluster {
        if cluster.id == found.cluster_id {
            return Applied::answer(Response::Done);
        }
        return CommandRejection::AlreadyFounded.into();
    }
    let last = found.members.iter().map(|member| member.node.0).max().unwrap_or(0);
    state.cluster = Some(Cluster {
        id: found.cluster_id,
        token_key: found.token_key,
        epoch_base: found.epoch_base,
        next_node_id: last.saturating_add(1),
        feature_level: FeatureLevel::FIRST,
        policy: Policy { registration: found.registration, ..Policy::default() },
        group_policies: Arc::default(),
        access_rules: None,
    });
    let events = found
        .members
        .iter()
        .map(|member| {
            let known = FeatureLevel::FIRST;
            state.enroll(member.node, &member.name, member.storage, &member.addresses, known)
        })
        .collect();
    state.publish_roster();
    Applied { response: Response::Done, events }
}
