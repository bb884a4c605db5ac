//! When the cluster's feature level rises, and who cannot take part in it. Pure; run by the leader, and by a node for itself.

use std::sync::Arc;

use crate::{
    model::{command::RaiseLevel, feature_level::FeatureLevel},
    routes::view::NodeView,
};

/// The newest level that every member can take part in, up or not, by what each said last.
pub(crate) fn common(members: &[Arc<NodeView>]) -> FeatureLevel {
    members.iter().map(|member| member.feature_level).min().unwrap_or_default()
}

/// The command that raises the level, if every member can take part in a higher one than the cluster is at.
pub(crate) fn raise(cluster: FeatureLevel, members: &[Arc<NodeView>]) -> Option<RaiseLevel> {
    let level = common(members);
    let lives = || members.iter().map(|member| (member.id, member.incarnation)).collect();
    (level > cluster).then(|| RaiseLevel { level, members: lives() })
}

/// Why a node that may take part in levels up to `most` cannot be a member of a cluster at this one; for people. `None`: it can.
pub(crate) fn refusal(cluster: FeatureLevel, most: FeatureLevel) -> Option<String> {
    let remedy = if most < FeatureLevel::NEWEST {
        "raise or remove max_feature_level"
    } else {
        "start a version that knows it"
    };
    (cluster > most).then(|| {
        format!(
            "the cluster is at feature level {cluster}, which never falls, and this node takes part in levels up to {most}: {remedy}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{Incarnation, NodeId};

    fn member(id: u64, level: u32) -> Arc<NodeView> {
        Arc::new(NodeView {
            id: NodeId(id),
            name: format!("n{id}").into(),
            storage: Default::default(),
            addresses: Default::default(),
            version: Default::default(),
            incarnation: Incarnation(id + 10),
            boot: Default::default(),
            up: id != 3,
            draining: false,
            floor: None,
            suffrage: Default::default(),
            feature_level: FeatureLevel(level),
        })
    }

    #[test]
    fn the_level_rises_to_what_the_least_of_the_members_knows() {
        let members = [member(1, 4), member(2, 2), member(3, 3)];
        let raised = raise(FeatureLevel(1), &members).unwrap();
        assert_eq!(raised.level, FeatureLevel(2));
        let life = |id| (NodeId(id), Incarnation(id + 10));
        assert_eq!(raised.members, [life(1), life(2), life(3)]);
        assert_eq!(raise(FeatureLevel(2), &members), None);
        assert_eq!(raise(FeatureLevel(3), &members), None);
    }

    #[test]
    fn one_that_has_said_nothing_holds_it_back_although_it_is_down() {
        assert_eq!(raise(FeatureLevel(0), &[member(1, 1), member(3, 0)]), None);
        assert_eq!(raise(FeatureLevel(0), &[]), None);
    }

    #[test]
    fn a_node_is_told_what_to_do() {
        assert_eq!(refusal(FeatureLevel(1), FeatureLevel(1)), None);
        let held = refusal(FeatureLevel(1), FeatureLevel(0)).unwrap();
        assert!(held.contains("max_feature_level"), "{held}");
        let old = refusal(FeatureLevel(FeatureLevel::NEWEST.0 + 1), FeatureLevel::NEWEST).unwrap();
        assert!(old.contains("start a version"), "{old}");
    }
}
