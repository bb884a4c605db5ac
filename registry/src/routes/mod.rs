//! The read side: look-ups by device and by group, on this node's replica.

pub mod view;

use crate::model::ids::{ClusterId, DeviceKey, LogIndex, NodeId};
use std::sync::Arc;
use view::*;

/// The read side.
#[derive(Clone)]
pub struct Routes;

#[allow(missing_docs, unused_variables, clippy::todo)]
impl Routes {
    /// The cluster's id; `None` before it is founded.
    pub fn cluster_id(&self) -> Option<ClusterId> {
        todo!()
    }
    /// The key that signs resume tokens; `None` before the cluster is founded.
    pub fn token_key(&self) -> Option<[u8; 32]> {
        todo!()
    }
    /// The last log index applied.
    pub fn applied_index(&self) -> LogIndex {
        todo!()
    }
    /// A node by id.
    pub fn node(&self, id: NodeId) -> Option<Arc<NodeView>> {
        todo!()
    }
    /// A node by name.
    pub fn node_by_name(&self, name: &str) -> Option<Arc<NodeView>> {
        todo!()
    }
    /// All nodes, in the order of their names.
    pub fn nodes(&self) -> Vec<Arc<NodeView>> {
        todo!()
    }
    /// A device.
    pub fn device(&self, key: &DeviceKey) -> Option<DeviceView> {
        todo!()
    }
    /// The way to a named device. Allocates nothing.
    pub fn route(&self, namespace: &str, device: &str) -> Route {
        todo!()
    }
    /// The nodes that hold matching devices of a group; `out` is cleared first.
    pub fn candidates(
        &self,
        namespace: &str,
        group: &str,
        action: &str,
        labels: &[(&str, &str)],
        out: &mut Vec<Candidate>,
    ) -> GroupMatch {
        todo!()
    }
    /// Up to `limit` devices whose id is greater than `after`, in the order of their ids.
    pub fn devices_after(
        &self,
        namespace: &str,
        after: Option<&str>,
        filter: &DeviceFilter<'_>,
        limit: usize,
    ) -> Vec<DeviceView> {
        todo!()
    }
    /// Up to `limit` groups whose name is greater than `after`, in the order of their names.
    pub fn groups_after(&self, namespace: &str, after: Option<&str>, limit: usize) -> Vec<GroupView> {
        todo!()
    }
    /// How much there is.
    pub fn counts(&self) -> Counts {
        todo!()
    }
    /// The valid sessions that a node holds.
    pub fn sessions_of(&self, node: NodeId) -> u64 {
        todo!()
    }
}
