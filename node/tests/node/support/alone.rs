//! A cluster of one node over the registry's model, without Raft or disk.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rollcall_node::cluster::{
    Cluster, ClusterConfig, ClusterStatus, Cursor, MemberError, Watch, WatchError, WatchItem,
};
use rollcall_registry::{
    AdministerError, Administration, ApplyObserver, ChangeError, MembershipChange, MembershipChanged,
    MembershipError, Opened, ReadError, Refusal, Registrar, Routes,
    backup::{About, Backup, Freshness, SaveError},
    model::{
        command::{
            Batch, ChangeKind, Command, FoundCluster, FoundingMember, NodeDraining, NodeUp, OpenSession,
            SessionChange,
        },
        feature_level::FeatureLevel,
        ids::{
            BatchNumber, BootCounter, ClusterId, DeviceKey, Epoch, Incarnation, LogIndex, NodeId,
            Registration, StorageId, UnixMillis,
        },
        profile::Profile,
        rejection::CommandRejection,
        response::Response,
        state::State,
    },
    storage::StoredLogId,
};
use tokio::sync::{Notify, broadcast};

const CLUSTER: ClusterId = ClusterId(0xc1);
const NODE: NodeId = NodeId(1);
const STORAGE: StorageId = StorageId(0x5);

struct Log {
    state: State,
    index: u64,
    batches: u64,
}

struct Inner {
    config: ClusterConfig,
    log: Mutex<Log>,
    routes: Routes,
    observers: Mutex<Vec<Arc<dyn ApplyObserver>>>,
    incarnation: AtomicU64,
    has_quorum: AtomicBool,
    changes: broadcast::Sender<WatchItem>,
    broken: Notify,
}

/// A cluster of one.
#[derive(Clone)]
pub struct Alone {
    inner: Arc<Inner>,
}

static STARTED: OnceLock<Mutex<HashMap<String, Alone>>> = OnceLock::new();

impl Alone {
    /// The one that a node of this name has started.
    pub fn started(name: &str) -> Option<Self> {
        STARTED.get_or_init(Mutex::default).lock().expect("a lock").get(name).cloned()
    }

    /// Where its node is.
    pub fn config(&self) -> &ClusterConfig {
        &self.inner.config
    }

    /// Loses or regains its quorum.
    pub fn set_quorum(&self, has_quorum: bool) {
        self.inner.has_quorum.store(has_quorum, Ordering::SeqCst);
    }

    /// A fault that its node cannot outlive.
    pub fn fail(&self) {
        self.inner.broken.notify_one();
    }

    fn apply(&self, log: &mut Log, command: &Command) -> (LogIndex, Response) {
        log.index += 1;
        let index = LogIndex(log.index);
        let applied = log.state.apply(index, command);
        for observer in self.inner.observers.lock().expect("a lock").iter() {
            observer.applied(index, &applied.events);
        }
        for (position, event) in (0..).zip(applied.events) {
            let cursor = Cursor { cluster: CLUSTER, index, position };
            let _ = self.inner.changes.send(WatchItem { cursor, event });
        }
        (index, applied.response)
    }

    fn change(&self, device: DeviceKey, kind: ChangeKind) -> Result<LogIndex, ChangeError> {
        let mut log = self.inner.log.lock().expect("a lock");
        log.batches += 1;
        let batch = Batch {
            node: NODE,
            incarnation: self.incarnation(),
            number: BatchNumber(log.batches),
            changes: vec![SessionChange { device, kind }],
            at: UnixMillis(0),
        };
        let (index, response) = self.apply(&mut log, &Command::Batch(batch));
        match response {
            Response::Batch(outcome) => match outcome.refused.first() {
                Some((_, rejection)) => Err((*rejection).into()),
                None => Ok(index),
            },
            other => panic!("a batch was answered with {other}"),
        }
    }

    fn found(&self) {
        let member = FoundingMember {
            node: NODE,
            name: self.inner.config.name.as_str().into(),
            storage: STORAGE,
            addresses: self.inner.config.advertise.clone(),
        };
        let found = FoundCluster {
            cluster_id: CLUSTER,
            members: vec![member],
            token_key: [7; 32],
            epoch_base: 0,
            registration: Default::default(),
        };
        let up = NodeUp {
            node: NODE,
            storage: STORAGE,
            boot: BootCounter(1),
            registration: Registration(1),
            addresses: self.inner.config.advertise.clone(),
            version: self.inner.config.version.as_str().into(),
            at: UnixMillis(0),
            feature_level: FeatureLevel::NEWEST,
        };
        let mut log = self.inner.log.lock().expect("a lock");
        self.apply(&mut log, &Command::FoundCluster(found));
        match self.apply(&mut log, &Command::NodeUp(up)).1 {
            Response::Up(incarnation) => self.inner.incarnation.store(incarnation.0, Ordering::SeqCst),
            other => panic!("the node was answered with {other}"),
        }
    }
}

impl Registrar for Alone {
    async fn open(&self, device: DeviceKey, open: OpenSession) -> Result<Opened, ChangeError> {
        let index = self.change(device, ChangeKind::Open(open))?;
        Ok(Opened { epoch: Epoch::new(0, index, 0), index })
    }

    async fn update(
        &self,
        device: DeviceKey,
        epoch: Epoch,
        profile: Arc<Profile>,
    ) -> Result<LogIndex, ChangeError> {
        self.change(device, ChangeKind::Update(epoch, profile))
    }

    fn close(&self, device: DeviceKey, epoch: Epoch) {
        let _ = self.change(device, ChangeKind::Close(epoch));
    }

    fn routes(&self) -> &Routes {
        &self.inner.routes
    }

    fn node(&self) -> NodeId {
        NODE
    }

    fn incarnation(&self) -> Incarnation {
        Incarnation(self.inner.incarnation.load(Ordering::SeqCst))
    }

    fn lease_held(&self) -> bool {
        true
    }

    async fn wait_applied(&self, index: LogIndex, patience: Duration) -> Result<(), ReadError> {
        let applied = self.inner.routes.applied_index();
        if applied >= index {
            return Ok(());
        }
        tokio::time::sleep(patience.min(Duration::from_millis(10))).await;
        Err(ReadError::Behind { applied, wanted: index })
    }
}

impl Cluster for Alone {
    type Watch = Changes;

    async fn start(config: ClusterConfig) -> Result<Self, MemberError> {
        let state = State::new();
        let routes = state.routes();
        let (changes, _) = broadcast::channel(256);
        let alone = Self {
            inner: Arc::new(Inner {
                config,
                log: Mutex::new(Log { state, index: 0, batches: 0 }),
                routes,
                observers: Mutex::default(),
                incarnation: AtomicU64::new(0),
                has_quorum: AtomicBool::new(true),
                changes,
                broken: Notify::new(),
            }),
        };
        let started = STARTED.get_or_init(Mutex::default);
        started.lock().expect("a lock").insert(alone.inner.config.name.clone(), alone.clone());
        Ok(alone)
    }

    fn peer_routes(&self) -> tonic::service::Routes {
        tonic::service::Routes::default()
    }

    fn observe(&self, observer: Arc<dyn ApplyObserver>) {
        self.inner.observers.lock().expect("a lock").push(observer);
    }

    async fn join(&self) -> Result<(), MemberError> {
        self.found();
        Ok(())
    }

    fn status(&self) -> ClusterStatus {
        let applied = self.inner.routes.applied_index();
        let has_quorum = self.inner.has_quorum.load(Ordering::SeqCst);
        ClusterStatus {
            cluster_id: self.inner.routes.cluster_id(),
            node: NODE,
            name: self.inner.config.name.clone(),
            leader: has_quorum.then_some(NODE),
            term: 1,
            applied,
            last_log: applied,
            voters: vec![NODE],
            learners: Vec::new(),
            has_quorum,
            lease_held: true,
            feature_level: self.inner.routes.feature_level(),
            ..ClusterStatus::default()
        }
    }

    fn watch(&self, after: Option<Cursor>) -> Result<Self::Watch, WatchError> {
        let changes = self.inner.changes.subscribe();
        match after {
            Some(cursor) if cursor.cluster != CLUSTER => Err(WatchError::OtherCluster),
            // Keeps no history.
            Some(cursor) if cursor.index < self.inner.routes.applied_index() => {
                let oldest = self.inner.routes.applied_index();
                Err(WatchError::TooOld { asked: cursor.index, oldest })
            }
            _ => Ok(Changes { changes }),
        }
    }

    async fn read_index(&self) -> Result<LogIndex, ReadError> {
        if self.inner.has_quorum.load(Ordering::SeqCst) {
            Ok(self.inner.routes.applied_index())
        } else {
            Err(ReadError::NoLeader)
        }
    }

    async fn disconnect(&self, device: DeviceKey, epoch: Epoch) -> Result<LogIndex, ChangeError> {
        self.change(device, ChangeKind::Close(epoch))
    }

    async fn change_membership(
        &self,
        change: &MembershipChange,
    ) -> Result<MembershipChanged, MembershipError> {
        match change {
            MembershipChange::Remove(name) | MembershipChange::Demote(name)
                if *name == self.inner.config.name =>
            {
                Err(Refusal::LastVoter.because("it is the last voter"))
            }
            MembershipChange::TransferLeadership(_) => Err(MembershipError::NoLeader),
            _ => Err(Refusal::UnknownNode.because("no node has that name")),
        }
    }

    fn was_removed(&self) -> bool {
        false
    }

    async fn administer(&self, change: Administration) -> Result<LogIndex, AdministerError> {
        let mut log = self.inner.log.lock().expect("a lock");
        match self.apply(&mut log, &change.into_command()) {
            (index, Response::Done) => Ok(index),
            (_, Response::Rejected(CommandRejection::Record(rejection))) => Err(rejection.into()),
            (_, other) => panic!("an administrator was answered with {other}"),
        }
    }

    async fn save(&self, freshness: Freshness) -> Result<Backup, SaveError> {
        if freshness == Freshness::Linearizable {
            self.read_index().await?;
        }
        let about = About {
            last_log_id: StoredLogId { term: 1, leader: NODE.0, index: self.inner.routes.applied_index().0 },
            membership: Default::default(),
            created_at: std::time::SystemTime::now(),
            version: "1".to_owned(),
            saved_by: self.inner.config.name.clone(),
        };
        let log = self.inner.log.lock().expect("a lock");
        Backup::of_view(about, &log.state.snapshot()).map_err(|error| SaveError::Snapshot(error.to_string()))
    }

    async fn fatal(&self) -> String {
        self.inner.broken.notified().await;
        "the disk is gone".to_owned()
    }

    async fn start_draining(&self) {
        let _ = self.start_draining_in_turn(Vec::new()).await;
    }

    async fn start_draining_in_turn(&self, provided: Vec<(NodeId, Incarnation)>) -> Result<(), String> {
        let draining = NodeDraining { node: NODE, incarnation: self.incarnation(), provided };
        let mut log = self.inner.log.lock().expect("a lock");
        self.apply(&mut log, &Command::NodeDraining(draining));
        Ok(())
    }

    fn lease_remaining(&self) -> Duration {
        Duration::from_secs(3)
    }

    async fn leave_for_good(&self, _patience: Duration) -> Result<(), MembershipError> {
        Ok(())
    }

    async fn shutdown(&self) {}
}

/// Changes from now on.
pub struct Changes {
    changes: broadcast::Receiver<WatchItem>,
}

impl Watch for Changes {
    async fn next(&mut self) -> Result<WatchItem, WatchError> {
        self.changes.recv().await.map_err(|_| WatchError::Stopping)
    }
}
