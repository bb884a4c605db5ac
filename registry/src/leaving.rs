//! How a node leaves: it says so, in turn if others matter, ends its life and stops.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    clock::unix_now,
    limits::PARTING_PAUSE,
    membership::change::{MembershipChange, MembershipError, Refusal},
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

    /// Has this node removed from its cluster, and marks its folder: its next start empties it and joins as new. While another
    /// change runs, or no leader is known, it asks again, for so long. [`Self::shutdown`] is still to be called.
    ///
    /// # Errors
    /// Why it is a member still, or may be.
    pub async fn leave_for_good(&self, patience: Duration) -> Result<(), MembershipError> {
        let give_up = Instant::now() + patience;
        let removal = MembershipChange::Remove(self.inner.folder.name().to_owned());
        loop {
            let error = match self.change_membership(&removal).await {
                Ok(_) | Err(MembershipError::Refused { refusal: Refusal::UnknownNode, .. }) => break,
                Err(error) => error,
            };
            let is_for_good = matches!(&error, MembershipError::Refused { refusal, .. } if *refusal != Refusal::ChangeInProgress);
            if is_for_good || Instant::now() + PARTING_PAUSE >= give_up {
                return Err(error);
            }
            sleep(PARTING_PAUSE).await;
        }
        if let Err(error) = self.inner.folder.mark_left() {
            // Its next start learns that it was removed, and puts its data aside.
            tracing::warn!(%error, "the data folder could not be marked");
        }
        Ok(())
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
