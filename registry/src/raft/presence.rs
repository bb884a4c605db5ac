//! Keeps this node registered: `NodeUp` until the log has it, then beats; again after a lapse.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

use super::{
    comparison::Standing,
    leader::{Leader, Proposed},
};
use crate::{
    clock::{Moment, unix_now},
    fatal::{FatalReason, FatalSender},
    leases::{holder::HeldLease, table::Beat},
    limits::LEASE_BEAT,
    model::{
        command::{Addresses, Command, NodeUp},
        feature_level::FeatureLevel,
        ids::{BootCounter, Incarnation, Registration, StorageId},
    },
    routes::view::NodeView,
};

/// How soon a registration that did not get through is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// What to do after an attempt to register.
#[derive(Debug, PartialEq, Eq)]
enum Attempt {
    /// Look again soon: it is on its way, or there is no leader.
    Wait,
    /// Try again as a newer registration.
    Anew,
    /// Trying again would not help; for people.
    Stop(String),
}

/// What a refusal means, judged by what this node's own replica has of it.
fn after_rejection(
    known: Option<&NodeView>,
    storage: StorageId,
    boot: BootCounter,
    reason: String,
) -> Attempt {
    match known {
        Some(known) if known.storage != storage => Attempt::Stop(reason),
        Some(known) if known.boot > boot => Attempt::Stop(format!(
            "{reason}: the cluster has seen start {} of this data folder, which counts only {boot}; \
             the disk was rolled back, so it is a lost disk: remove this node from the cluster and start with an empty folder",
            known.boot
        )),
        Some(known) if known.boot == boot => Attempt::Anew,
        // The replica is behind; what it lacks will say more.
        Some(_) | None => Attempt::Wait,
    }
}

/// One node's presence.
pub(super) struct Presence {
    pub(super) leader: Leader,
    pub(super) lease: Arc<HeldLease>,
    pub(super) changed: Arc<Notify>,
    pub(super) storage: StorageId,
    pub(super) boot: BootCounter,
    pub(super) addresses: Addresses,
    pub(super) version: String,
    /// The newest level that this node may take part in.
    pub(super) feature_level: FeatureLevel,
    pub(super) fatal: FatalSender,
    /// A node registers once its disk was found sound.
    pub(super) standing: Standing,
}

impl Presence {
    /// Runs until the node leaves the cluster for good.
    pub(super) async fn run(self) {
        self.standing.good().await;
        let mut registration = Registration(1);
        let mut registered_as = Incarnation(0);
        loop {
            let incarnation = self.lease.incarnation();
            if registered_as != Incarnation(0) && incarnation != registered_as {
                registration.0 += 1;
            }
            registered_as = incarnation;
            let nap = if incarnation != Incarnation(0) {
                self.beat(incarnation).await
            } else if self.leader.routes.cluster_id().is_none() {
                // The cluster's first command is yet to come.
                TRY_AGAIN
            } else {
                match self.register(registration).await {
                    Attempt::Wait => {}
                    Attempt::Anew => registration.0 += 1,
                    Attempt::Stop(reason) => return self.fatal.stop(FatalReason::Refused(reason)),
                }
                TRY_AGAIN
            };
            // A change that came in meanwhile has left its permit, so that nothing is slept over.
            let _ = tokio::time::timeout(nap, self.changed.notified()).await;
        }
    }

    async fn register(&self, registration: Registration) -> Attempt {
        let up = NodeUp {
            node: self.leader.consensus.seat().node,
            storage: self.storage,
            boot: self.boot,
            registration,
            addresses: self.addresses.clone(),
            version: self.version.as_str().into(),
            at: unix_now(),
            feature_level: self.feature_level,
        };
        match self.leader.propose_anywhere(&Arc::new(Command::NodeUp(up))).await {
            Ok(Proposed::Committed(index)) => tracing::info!(%index, %registration, "registered"),
            Ok(Proposed::Rejected(reason)) => {
                tracing::warn!(reason, %registration, "the registration was refused");
                let known = self.leader.routes.node(self.leader.consensus.seat().node);
                return after_rejection(known.as_deref(), self.storage, self.boot, reason);
            }
            Ok(Proposed::RecordRejected(_)) => {}
            Err(error) => tracing::debug!(%error, "not registered yet"),
        }
        Attempt::Wait
    }

    /// One beat; how long until the next.
    async fn beat(&self, incarnation: Incarnation) -> Duration {
        let sent = Moment::now();
        match self.leader.beat(incarnation).await {
            Ok(Some(Beat::Granted(ttl))) => {
                self.lease.renewed(incarnation, sent, ttl);
                LEASE_BEAT
            }
            // This node's own log is about to say so as well; until then it must not act on the rest of its lease.
            Ok(Some(Beat::Lapsed)) => {
                self.lease.refused(incarnation);
                TRY_AGAIN
            }
            Ok(None) => TRY_AGAIN,
            Err(error) => {
                tracing::debug!(%error, "beat not answered");
                TRY_AGAIN
            }
        }
    }
}
