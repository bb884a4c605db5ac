//! The read side: look-ups by device and by group, on this node's replica, and the tables behind them.
//!
//! The tables are written by apply alone, through `writer`; a reader holds a shard's lock for one look-up.

mod access_rules;
pub(crate) mod cohort;
mod cohorts;
mod devices;
mod group_index;
mod group_policies;
mod groups;
pub(crate) mod held;
mod leftovers;
pub(crate) mod life;
mod one_moment;
pub(crate) mod roster;
pub(crate) mod row;
pub(crate) mod shard;
pub(crate) mod tables;
mod tags;
mod together;
pub mod view;
pub(crate) mod writer;

use std::sync::{Arc, atomic::Ordering};

use arc_swap::ArcSwap;

use crate::model::{
    feature_level::FeatureLevel,
    ids::{ClusterId, LogIndex, NodeId},
    policy::Policy,
};
pub use leftovers::Leftovers;
pub use one_moment::Everyone;
use tables::Tables;
use view::{Counts, NodeView};

/// The read side: a cheap handle, one for all threads.
///
/// A look-up sees each row as one entry left it. Look-ups that touch several rows (listings, groups) may see some
/// rows before and some after an entry that is being applied; [`Self::applied_index`] rises once all of an entry's rows
/// are in place. No lock is held between calls.
#[derive(Debug, Clone)]
pub struct Routes {
    tables: Arc<ArcSwap<Tables>>,
}

impl Routes {
    pub(crate) fn over(tables: Arc<Tables>) -> Self {
        Self { tables: Arc::new(ArcSwap::new(tables)) }
    }

    /// Shows other tables through all clones of this handle.
    pub(crate) fn replace(&self, tables: Arc<Tables>) {
        self.tables.store(tables);
    }

    /// The cluster's id; `None` before it is founded.
    pub fn cluster_id(&self) -> Option<ClusterId> {
        self.tables.load().roster.load().cluster_id
    }

    /// The key that signs resume tokens; `None` before the cluster is founded.
    pub fn token_key(&self) -> Option<[u8; 32]> {
        self.tables.load().roster.load().token_key
    }

    /// What the cluster adds to each epoch.
    pub fn epoch_base(&self) -> u64 {
        self.tables.load().roster.load().epoch_base
    }

    /// What the members write by now.
    pub fn feature_level(&self) -> FeatureLevel {
        self.tables.load().roster.load().feature_level
    }

    /// The rules for records.
    pub fn policy(&self) -> Policy {
        self.tables.load().roster.load().policy
    }

    /// The last log index applied.
    pub fn applied_index(&self) -> LogIndex {
        self.tables.load().applied()
    }

    /// A node by id.
    pub fn node(&self, id: NodeId) -> Option<Arc<NodeView>> {
        self.tables.load().roster.load().nodes.get(&id).map(|node| Arc::clone(&node.view))
    }

    /// A node by name.
    pub fn node_by_name(&self, name: &str) -> Option<Arc<NodeView>> {
        let tables = self.tables.load();
        let roster = tables.roster.load();
        let id = roster.names.get(name)?;
        roster.nodes.get(id).map(|node| Arc::clone(&node.view))
    }

    /// Whether this id was given to a node that was removed since.
    ///
    /// Ids are given in order and never twice, so no list of the removed is needed. A replica that has yet to apply the
    /// admission of a node does not take it for removed.
    pub fn was_removed(&self, id: NodeId) -> bool {
        let tables = self.tables.load();
        let roster = tables.roster.load();
        id != NodeId(0) && id < roster.next_node && !roster.nodes.contains_key(&id)
    }

    /// Whether a node has said that it is about to stop.
    pub fn is_draining(&self, id: NodeId) -> bool {
        let tables = self.tables.load();
        let roster = tables.roster.load();
        roster.draining && roster.nodes.get(&id).is_some_and(|node| node.view.up && node.view.draining)
    }

    /// All nodes, in the order of their names.
    pub fn nodes(&self) -> Vec<Arc<NodeView>> {
        let tables = self.tables.load();
        let roster = tables.roster.load();
        let by_name = roster.names.values().filter_map(|id| roster.nodes.get(id));
        by_name.map(|node| Arc::clone(&node.view)).collect()
    }

    /// How much there is.
    pub fn counts(&self) -> Counts {
        let tables = self.tables.load();
        let roster = tables.roster.load();
        let lives = roster.nodes.values().filter_map(|node| node.life.as_ref());
        Counts {
            devices: tables.devices.load(Ordering::Relaxed),
            sessions: lives.map(|life| life.sessions()).sum(),
        }
    }

    /// The valid sessions that a node holds.
    pub fn sessions_of(&self, node: NodeId) -> u64 {
        let tables = self.tables.load();
        let roster = tables.roster.load();
        roster.nodes.get(&node).and_then(|node| node.life.as_ref()).map_or(0, |life| life.sessions())
    }
}
