//! What this node's own registration and batches learn from the log.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::{
    batcher::{BatcherHandle, LogNews},
    fatal::{FatalReason, FatalSender},
    handle::ApplyObserver,
    leases::holder::HeldLease,
    membership::level,
    model::{
        event::{BatchOutcome, Event},
        feature_level::FeatureLevel,
        ids::{BootCounter, Incarnation, LogIndex, NodeId},
    },
    raft::Expulsion,
    routes::Routes,
};

/// Follows the log for one node's own sake.
pub(crate) struct LocalObserver {
    pub(crate) node: NodeId,
    /// Of this start: a registration of an earlier one, seen again while the log is replayed, is not this process's.
    pub(crate) boot: BootCounter,
    pub(crate) routes: Routes,
    pub(crate) lease: Arc<HeldLease>,
    pub(crate) batcher: BatcherHandle,
    /// Wakes the presence worker after a change of the registration.
    pub(crate) changed: Arc<Notify>,
    /// Acts when the log says that this node was removed.
    pub(crate) expulsion: Expulsion,
    /// The newest level that this node may take part in.
    pub(crate) max_feature_level: FeatureLevel,
    /// Stops the node when the cluster is beyond that.
    pub(crate) fatal: FatalSender,
}

impl LocalObserver {
    fn registered(&self, incarnation: Incarnation) {
        self.lease.registered(incarnation);
        self.batcher.news(LogNews::Registered(incarnation));
        self.changed.notify_one();
    }

    fn lapsed(&self) {
        self.lease.lapsed();
        self.batcher.news(LogNews::Lapsed);
        self.changed.notify_one();
    }

    /// Only this life's batches, of which one is in flight at a time: replaying a long log floods no queue.
    fn applied_batch(&self, outcome: &BatchOutcome) {
        if outcome.incarnation == self.lease.incarnation() {
            self.batcher.news(LogNews::Applied(outcome.clone()));
        }
    }

    /// What the others write from now on this node could not read, or may not.
    fn level_is(&self, cluster: FeatureLevel) {
        if let Some(reason) = level::refusal(cluster, self.max_feature_level) {
            self.fatal.stop(FatalReason::Refused(reason));
        }
    }

    /// This process's incarnation, as the rows have it.
    fn current(&self) -> Option<Incarnation> {
        let view = self.routes.node(self.node)?;
        (view.up && view.boot == self.boot).then_some(view.incarnation)
    }
}

impl ApplyObserver for LocalObserver {
    fn applied(&self, _index: LogIndex, events: &[Event]) {
        for event in events {
            match event {
                Event::NodeUp { node, incarnation } if *node == self.node => {
                    if self.current() == Some(*incarnation) {
                        self.registered(*incarnation);
                    }
                }
                Event::NodeDown { node, incarnation, .. } if *node == self.node => {
                    if self.lease.incarnation() == *incarnation {
                        self.lapsed();
                    }
                }
                Event::NodeRemoved { node } if *node == self.node => self.expulsion.noticed(),
                Event::BatchApplied(outcome) if outcome.node == self.node => self.applied_batch(outcome),
                Event::LevelRaised { level } => self.level_is(*level),
                Event::Opened { .. }
                | Event::Closed { .. }
                | Event::Updated { .. }
                | Event::Created { .. }
                | Event::Changed { .. }
                | Event::Removed { .. }
                | Event::NodeUp { .. }
                | Event::NodeDown { .. }
                | Event::NodeAdmitted { .. }
                | Event::NodeRemoved { .. }
                | Event::BatchApplied(_) => {}
            }
        }
    }

    fn snapshot_installed(&self, _index: LogIndex) {
        if self.routes.was_removed(self.node) {
            self.expulsion.noticed();
        }
        self.level_is(self.routes.feature_level());
        let held = self.lease.incarnation();
        match self.current() {
            Some(incarnation) if incarnation != held => self.registered(incarnation),
            Some(_) => {}
            None if held != Incarnation(0) => self.lapsed(),
            None => {}
        }
    }
}
