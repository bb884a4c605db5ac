//! A registrar over a log that is applied to all replicas at once, unless one of them is held back.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rollcall_registry::{
    ApplyObserver, ChangeError, Opened, ReadError, Registrar, Routes,
    model::{
        command::{Batch, ChangeKind, Command, OpenSession, SessionChange},
        event::{BatchOutcome, Event},
        ids::{BatchNumber, DeviceKey, Epoch, Incarnation, LogIndex, NodeId, UnixMillis},
        profile::Profile,
        response::Response,
        state::{Applied, State},
    },
};

/// One node's copy of the state.
pub(crate) struct Replica {
    state: State,
    observer: Option<Arc<dyn ApplyObserver>>,
    held_back: Option<Vec<(LogIndex, Command)>>,
}

impl Replica {
    pub(crate) fn new(state: State) -> Self {
        Self { state, observer: None, held_back: None }
    }

    fn apply(&mut self, index: LogIndex, command: &Command) -> Applied {
        let applied = self.state.apply(index, command);
        if let Some(observer) = &self.observer {
            observer.applied(index, &applied.events);
        }
        applied
    }
}

struct Inner {
    index: LogIndex,
    replicas: Vec<Replica>,
    numbers: HashMap<NodeId, u64>,
}

/// The log.
pub(crate) struct Log {
    inner: Mutex<Inner>,
    /// Behind a lock of their own: observers ask for them while an entry is applied.
    incarnations: Mutex<HashMap<NodeId, Incarnation>>,
}

impl Log {
    pub(crate) fn new(replicas: Vec<Replica>) -> Self {
        let inner = Inner { index: LogIndex(0), replicas, numbers: HashMap::new() };
        Self { inner: Mutex::new(inner), incarnations: Mutex::default() }
    }

    pub(crate) fn observe(&self, replica: usize, observer: Arc<dyn ApplyObserver>) {
        self.inner.lock().replicas[replica].observer = Some(observer);
    }

    pub(crate) fn append(&self, command: Command) -> (LogIndex, Applied) {
        self.append_to(&mut self.inner.lock(), command)
    }

    /// From now on this replica applies nothing.
    pub(crate) fn hold_back(&self, replica: usize) {
        self.inner.lock().replicas[replica].held_back = Some(Vec::new());
    }

    /// It applies what it has missed.
    pub(crate) fn catch_up(&self, replica: usize) {
        let inner = &mut *self.inner.lock();
        let replica = &mut inner.replicas[replica];
        for (index, command) in replica.held_back.take().unwrap_or_default() {
            replica.apply(index, &command);
        }
    }

    pub(crate) fn index(&self) -> LogIndex {
        self.inner.lock().index
    }

    pub(crate) fn incarnation(&self, node: NodeId) -> Incarnation {
        self.incarnations.lock().get(&node).copied().unwrap_or_default()
    }

    fn routes(&self, replica: usize) -> Routes {
        self.inner.lock().replicas[replica].state.routes()
    }

    /// One change of a node, as a batch of its own.
    pub(crate) fn change(&self, node: NodeId, device: DeviceKey, kind: ChangeKind) -> (LogIndex, Applied) {
        let mut inner = self.inner.lock();
        let incarnation = self.incarnation(node);
        let number = inner.numbers.entry(node).or_default();
        *number += 1;
        let number = BatchNumber(*number);
        let changes = vec![SessionChange { device, kind }];
        self.append_to(
            &mut inner,
            Command::Batch(Batch { node, incarnation, number, changes, at: UnixMillis(0) }),
        )
    }

    fn append_to(&self, inner: &mut Inner, command: Command) -> (LogIndex, Applied) {
        inner.index = LogIndex(inner.index.0 + 1);
        let index = inner.index;
        // Like the registry, which learns its incarnation before the observers do.
        if let Command::NodeUp(up) = &command {
            self.incarnations.lock().insert(up.node, Incarnation(index.0));
            inner.numbers.insert(up.node, 0);
        }
        let mut result = None;
        for replica in &mut inner.replicas {
            match &mut replica.held_back {
                Some(missed) => missed.push((index, command.clone())),
                None => result = Some(replica.apply(index, &command)),
            }
        }
        (index, result.expect("a replica applies"))
    }
}

/// The registry of one node.
pub(crate) struct FakeRegistrar {
    node: NodeId,
    log: Arc<Log>,
    routes: Routes,
    /// Whether its lease holds.
    pub(crate) leased: AtomicBool,
    /// What the next opens are answered with instead.
    pub(crate) refuse: Mutex<Option<ChangeError>>,
    /// Opens wait while this is locked.
    pub(crate) gate: tokio::sync::Mutex<()>,
}

impl FakeRegistrar {
    pub(crate) fn new(node: NodeId, log: Arc<Log>) -> Self {
        let routes = log.routes(node.0 as usize - 1);
        Self {
            node,
            log,
            routes,
            leased: AtomicBool::new(true),
            refuse: Mutex::new(None),
            gate: tokio::sync::Mutex::new(()),
        }
    }

    fn outcome(applied: &Applied) -> Result<&BatchOutcome, ChangeError> {
        match &applied.response {
            Response::Batch(outcome) => match outcome.refused.first() {
                Some((_, rejection)) => Err(ChangeError::Rejected(*rejection)),
                None => Ok(outcome),
            },
            _ => Err(ChangeError::Lapsed),
        }
    }
}

impl Registrar for FakeRegistrar {
    async fn open(&self, device: DeviceKey, open: OpenSession) -> Result<Opened, ChangeError> {
        let _gate = self.gate.lock().await;
        if let Some(error) = self.refuse.lock().clone() {
            return Err(error);
        }
        let (index, applied) = self.log.change(self.node, device, ChangeKind::Open(open));
        Self::outcome(&applied)?;
        let epoch = applied.events.iter().find_map(|event| match event {
            Event::Opened { session, .. } => Some(session.epoch),
            _ => None,
        });
        Ok(Opened { epoch: epoch.expect("an open opens"), index })
    }

    async fn update(
        &self,
        device: DeviceKey,
        epoch: Epoch,
        profile: Arc<Profile>,
    ) -> Result<LogIndex, ChangeError> {
        let (index, applied) = self.log.change(self.node, device, ChangeKind::Update(epoch, profile));
        Self::outcome(&applied).map(|_| index)
    }

    fn close(&self, device: DeviceKey, epoch: Epoch) {
        self.log.change(self.node, device, ChangeKind::Close(epoch));
    }

    fn routes(&self) -> &Routes {
        &self.routes
    }

    fn node(&self) -> NodeId {
        self.node
    }

    fn incarnation(&self) -> Incarnation {
        self.log.incarnation(self.node)
    }

    fn lease_held(&self) -> bool {
        self.leased.load(Ordering::Relaxed)
    }

    async fn wait_applied(&self, index: LogIndex, patience: Duration) -> Result<(), ReadError> {
        let waited = tokio::time::timeout(patience, async {
            while self.routes.applied_index() < index {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let behind = ReadError::Behind { applied: self.routes.applied_index(), wanted: index };
        waited.await.map_err(|_| behind)
    }
}
