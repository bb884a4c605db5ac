//! The cluster and its nodes as readers see them: replaced as a whole when one of them changes.

use std::{collections::BTreeMap, sync::Arc};

use compact_str::CompactString;

use super::{life::Life, view::NodeView};
use crate::model::{
    feature_level::FeatureLevel,
    ids::{ClusterId, NodeId},
    policy::{AccessRules, GroupPolicies, Policy},
};

/// A node and its current or last life.
#[derive(Debug, Clone)]
pub(crate) struct RosterNode {
    pub(crate) view: Arc<NodeView>,
    pub(crate) life: Option<Arc<Life>>,
}

/// The cluster and its nodes.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    pub(crate) cluster_id: Option<ClusterId>,
    pub(crate) token_key: Option<[u8; 32]>,
    pub(crate) epoch_base: u64,
    pub(crate) feature_level: FeatureLevel,
    /// The id that the next newcomer gets.
    pub(crate) next_node: NodeId,
    pub(crate) policy: Policy,
    pub(crate) group_policies: Arc<GroupPolicies>,
    pub(crate) access_rules: Option<Arc<AccessRules>>,
    /// Whether any node is: most of the time the question costs nothing.
    pub(crate) draining: bool,
    pub(crate) nodes: BTreeMap<NodeId, RosterNode>,
    pub(crate) names: BTreeMap<CompactString, NodeId>,
}
