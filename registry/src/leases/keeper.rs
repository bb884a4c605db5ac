//! Runs the leader's lease table: one task that owns it, fed with beats and with time.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    task::{AbortHandle, JoinSet},
    time::MissedTickBehavior,
};

use super::table::{Beat, LeaseTable};
use crate::{
    clock::Moment,
    limits::{LEASE_BEATS_WAITING, LEASE_TICK},
    model::ids::{Incarnation, NodeId},
    routes::Routes,
};

/// The term in which this node may grant leases now: it leads, heard from a quorum of late, and has applied whatever
/// earlier leaders wrote of nodes that are down.
pub(crate) type GrantingTerm = Arc<dyn Fn() -> Option<u64> + Send + Sync>;
/// Commits a node's `NodeDown`.
pub(crate) type ReportDown =
    Arc<dyn Fn(NodeId, Incarnation) -> futures::future::BoxFuture<'static, ()> + Send + Sync>;

/// The way to the keeper: cheap, cloneable.
#[derive(Clone)]
pub(crate) struct KeeperHandle {
    beats: mpsc::Sender<(NodeId, Incarnation, oneshot::Sender<Option<Beat>>)>,
}

impl KeeperHandle {
    /// Takes a node's beat; `None`: this node may not grant leases now.
    pub(crate) async fn beat(&self, node: NodeId, incarnation: Incarnation) -> Option<Beat> {
        let (answer, answered) = oneshot::channel();
        self.beats.try_send((node, incarnation, answer)).ok()?;
        answered.await.ok().flatten()
    }
}

/// Starts the keeper. It ends when every handle is gone.
pub(crate) fn spawn(
    routes: Routes,
    granting_term: GrantingTerm,
    report_down: ReportDown,
) -> (KeeperHandle, AbortHandle) {
    let (beats, received) = mpsc::channel(LEASE_BEATS_WAITING);
    let keeper = Keeper {
        table: LeaseTable::default(),
        term: 0,
        routes,
        granting_term,
        report_down,
        reporting: HashSet::new(),
        reports: JoinSet::new(),
    };
    let task = tokio::spawn(keeper.run(received)).abort_handle();
    (KeeperHandle { beats }, task)
}

struct Keeper {
    table: LeaseTable,
    /// The term that the table belongs to.
    term: u64,
    routes: Routes,
    granting_term: GrantingTerm,
    report_down: ReportDown,
    /// Lapses whose `NodeDown` is on its way, so that each is proposed once at a time; at most one per node.
    reporting: HashSet<(NodeId, Incarnation)>,
    reports: JoinSet<(NodeId, Incarnation)>,
}

impl Keeper {
    async fn run(mut self, mut beats: mpsc::Receiver<(NodeId, Incarnation, oneshot::Sender<Option<Beat>>)>) {
        let mut ticks = tokio::time::interval(LEASE_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Ticks and reports are few, and what they say counts for the beats that follow.
                biased;
                _ = ticks.tick() => self.tick(),
                Some(reported) = self.reports.join_next() => {
                    if let Ok(lapse) = reported {
                        self.reporting.remove(&lapse);
                    }
                }
                beat = beats.recv() => match beat {
                    // Who asked may be gone; then nobody needs the answer.
                    Some((node, incarnation, answer)) => drop(answer.send(self.beat(node, incarnation))),
                    None => return,
                },
            }
        }
    }

    fn beat(&mut self, node: NodeId, incarnation: Incarnation) -> Option<Beat> {
        if !self.may_grant() {
            return None;
        }
        let current = self.routes.node(node).filter(|view| view.up).map(|view| view.incarnation);
        // A leader that has yet to apply the node's start must not call its incarnation over.
        if current.is_none_or(|current| current < incarnation) {
            return self
                .routes
                .node(node)
                .is_some_and(|view| view.incarnation >= incarnation)
                .then_some(Beat::Lapsed);
        }
        self.table.beat(node, incarnation, current, Moment::now())
    }

    /// Whether leases may be granted now; each term has a table of its own.
    fn may_grant(&mut self) -> bool {
        let Some(term) = (self.granting_term)() else {
            return false;
        };
        if term != self.term {
            self.term = term;
            self.table = LeaseTable::default();
        }
        true
    }

    fn tick(&mut self) {
        if !self.may_grant() {
            self.table.pause();
            return;
        }
        let nodes = self.routes.nodes();
        let up: Vec<_> =
            nodes.iter().filter(|node| node.up).map(|node| (node.id, node.incarnation)).collect();
        for (node, incarnation) in self.table.tick(&up, Moment::now()) {
            if self.reporting.insert((node, incarnation)) {
                tracing::warn!(%node, %incarnation, "lease lapsed");
                let report = (self.report_down)(node, incarnation);
                self.reports.spawn(async move {
                    // A report that cannot be committed is tried again at a later tick.
                    let _ = tokio::time::timeout(Duration::from_secs(1), report).await;
                    (node, incarnation)
                });
            }
        }
    }
}
