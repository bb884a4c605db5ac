//! `leave_on_stop`: a node without a vote that stops leaves its cluster for good, so that nobody waits for it.

use rollcall_registry::model::command::Suffrage;

use crate::{cluster::Cluster, limits::PARTING_PATIENCE};

/// Leaves the cluster if this node has no vote. One whose vote an operator took is the operator's to remove.
pub(super) async fn leave_for_good<C: Cluster>(cluster: &C) {
    let status = cluster.status();
    let is_spare =
        cluster.routes().node(status.node).is_some_and(|node| node.suffrage == Suffrage::Automatic);
    if !is_spare || !status.learners.contains(&status.node) {
        return;
    }
    match cluster.leave_for_good(PARTING_PATIENCE).await {
        Ok(()) => {
            tracing::info!("this node has left its cluster for good; its next start joins as a new node")
        }
        Err(error) => {
            tracing::warn!(%error, "this node could not leave its cluster; the leader removes it after `learner_ttl`")
        }
    }
}
