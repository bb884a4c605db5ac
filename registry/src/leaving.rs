//! How a node leaves: it says so, in turn if others matter, ends its life and stops.

use std::sync::Arc;

use crate::{
    clock::unix_now,
    model::{
        command::{Command, NodeDown, NodeDownReason, NodeDraining},
        ids::{Incarnation, NodeId},
    },
    raft::{Proposed, Seated},
    registry::Registry,
};

impl Registry {
    /// Says to the cluster that this node is about to stop: others then give it no new work. Tries for a moment.
    ///
    /// # Cancel safety
    /// Dropped, it may be said or not.
    pub async fn start_draining(&self) {
        let incarnation = self.inner.lease.incarnation();
        let Some(seated) = self.inner.seated.get().filter(|_| incarnation != Incarnation(0)) else { return };
        let draining = NodeDraining { node: seated.seat().node, incarnation, provided: Vec::new() };
        if !seated.leader.propose_soon(&Arc::new(Command::NodeDraining(draining))).await {
            tracing::warn!("the cluster was not told that this node drains");
        }
    }

    /// Says to the cluster that this node is about to stop, on condition that each of these lives goes on and does not drain:
    /// of several nodes that ask at once the log lets one go.
    ///
    /// # Errors
    /// Why not, for people: one of them does not go on, or nobody could commit it. It may be said all the same.
    pub async fn start_draining_in_turn(&self, provided: Vec<(NodeId, Incarnation)>) -> Result<(), String> {
        let incarnation = self.inner.lease.incarnation();
        let Some(seated) = self.inner.seated.get().filter(|_| incarnation != Incarnation(0)) else {
            return Err("this node is not registered".to_owned());
        };
        let draining = NodeDraining { node: seated.seat().node, incarnation, provided };
        match seated.leader.propose(&Arc::new(Command::NodeDraining(draining))).await {
            Ok(Proposed::Committed(_)) => Ok(()),
            Ok(Proposed::Rejected(reason)) => Err(reason),
            Ok(Proposed::RecordRejected(rejection)) => Err(rejection.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Leaves: ends this node's incarnation, hands leadership over, stops Raft. Without a quorum it stops all the same.
    pub async fn shutdown(&self) {
        if let Some(seated) = self.inner.seated.get() {
            // Boxed: it holds a whole proposal.
            Box::pin(self.leave(seated)).await;
        }
        self.inner.watching.abort();
        if let Err(error) = self.inner.log.close().await {
            tracing::warn!(%error, "the log was not closed cleanly");
        }
    }

    async fn leave(&self, seated: &Seated) {
        // First, or it would register this node again.
        seated.presence.abort();
        let incarnation = self.inner.lease.incarnation();
        if incarnation != Incarnation(0) && !self.was_removed() {
            let (node, reason) = (seated.seat().node, NodeDownReason::Stopped);
            let down = NodeDown { node, incarnation, reason, at: unix_now(), floor: None };
            if !seated.leader.propose_soon(&Arc::new(Command::NodeDown(down))).await {
                tracing::warn!("the cluster was not told that this node stops; its lease will lapse");
            }
        }
        seated.stop().await;
    }
}
