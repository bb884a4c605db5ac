//! How a node is asked to leave by others than the system's signals: in its turn, so that a quorum stays, or at once.

use std::time::Duration;

use futures::future::join_all;
use rollcall_registry::routes::view::NodeView;
use rollcall_transport::Connector;
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    peers,
    readiness::Progress,
    turn::{Answer, OtherVoter, waits_for},
};
use crate::{cluster::Cluster, limits::TURN_INTERVAL};

/// The way out of the cluster: cheap, cloneable.
#[derive(Clone)]
pub struct Leaving<C> {
    pub(super) cluster: C,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) stop: CancellationToken,
    pub(super) connector: Connector,
}

impl<C: Cluster> Leaving<C> {
    /// Waits until this node may leave, and tells the cluster that it does; it is then no longer ready. `waiting` is told what
    /// it waits for, each time it has looked. A node without a vote leaves at once: no quorum needs it.
    ///
    /// # Cancel safety
    /// Dropped, it does not leave, unless the cluster was told at that moment.
    pub async fn turn(&self, mut waiting: impl FnMut(&[String])) {
        loop {
            let reasons = self.look().await;
            if reasons.is_empty() {
                self.progress.send_modify(|progress| progress.draining = true);
                return;
            }
            waiting(&reasons);
            sleep(TURN_INTERVAL).await;
        }
    }

    /// Drains and stops, as the first signal does.
    pub fn leave(&self) {
        self.stop.cancel();
    }

    /// Leaves after `pause`, unless the system has said so before.
    pub fn leave_after(&self, pause: Duration) {
        let stop = self.stop.clone();
        tokio::spawn(async move {
            if tokio::time::timeout(pause, stop.cancelled()).await.is_err() {
                tracing::warn!("this node was let go and nobody has stopped it; it stops by itself");
                stop.cancel();
            }
        });
    }

    /// What this node waits for; empty: it is its turn, and the cluster knows.
    async fn look(&self) -> Vec<String> {
        let status = self.cluster.status();
        if self.progress.borrow().draining || !status.voters.contains(&status.node) {
            return Vec::new();
        }
        if !status.has_quorum {
            return vec!["this node has no leader with a quorum".to_owned()];
        }
        let others = status.voters.iter().filter(|id| **id != status.node);
        let others: Vec<_> = others.filter_map(|id| self.cluster.routes().node(*id)).collect();
        let lives = others.iter().map(|node| (node.id, node.incarnation)).collect();
        let seen = join_all(others.iter().map(|node| other_voter(&self.connector, node))).await;
        let reasons = waits_for(status.applied.0, &seen);
        if !reasons.is_empty() {
            return reasons;
        }
        match self.cluster.start_draining_in_turn(lives).await {
            Ok(()) => Vec::new(),
            Err(reason) => vec![reason],
        }
    }
}

async fn other_voter(connector: &Connector, node: &NodeView) -> OtherVoter {
    let answer = if node.up { peers::ask(connector, &node.addresses.peer).await } else { None };
    OtherVoter {
        name: node.name.to_string(),
        up: node.up,
        draining: node.draining,
        answer: answer.map(|said| Answer {
            ready: said.ready,
            has_quorum: said.has_quorum,
            applied: said.applied_index,
        }),
    }
}
