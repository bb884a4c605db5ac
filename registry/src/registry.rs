//! A node's registry, assembled: folder, log, Raft, registration, batcher and read side.

use std::{path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rollcall_transport::Connector;
use tokio::{
    sync::{Notify, OnceCell, Semaphore},
    task::AbortHandle,
};

use crate::{
    blocking,
    clock::Moment,
    fatal::{FatalReason, FatalSender},
    handle::{ApplyObserver, ChangeError, Opened, ReadError, Registrar},
    leases::holder::HeldLease,
    limits::{BACKUPS_AT_ONCE, VOTERS},
    membership::{
        change::{MembershipChange, MembershipChanged, MembershipError},
        folder::Folder,
        level,
    },
    model::{
        command::{Addresses, ChangeKind, OpenSession, SessionChange},
        feature_level::FeatureLevel,
        ids::{ClusterId, DeviceKey, Epoch, Incarnation, LogIndex, NodeId},
        policy::RegistrationMode,
        profile::Profile,
    },
    observers::{Cursor, Observers, Watch, WatchError, WatchHistory},
    raft::{self, Log, LogBounds, Machine, Seated},
    routes::Routes,
    start_error::StartError,
    storage::{DataDir, LogBackend, NodeLog, PutAside, put_aside_removed},
};

/// What a registry needs to know of its node.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// The node's stable name.
    pub name: String,
    /// Where everything that must outlive the process is kept. Made if it is not there.
    pub data_dir: PathBuf,
    /// Peer addresses, `host:port`: of the founding members, or of any members to join. May be empty for a node that
    /// founds a cluster alone, and for one that is a member already.
    pub join: Vec<String>,
    /// How many nodes found the cluster together; the join list then names exactly these. 0: only ever join.
    pub bootstrap_expect: usize,
    /// Where the node is reached.
    pub advertise: Addresses,
    /// The version that runs.
    pub version: String,
    /// Which devices may attach to a cluster that this node founds. One that is there has its own rule.
    pub registration: RegistrationMode,
    /// How many nodes shall vote: one of [`crate::limits::VOTERS`]. The leader's counts; give the same to all.
    pub voters: usize,
    /// After how long a learner that is down counts as gone and is removed; zero: never. The leader's counts; give the same to
    /// all.
    pub learner_ttl: Duration,
    /// The newest feature level that this node takes part in; the cluster's rises no further while it is a member. At most
    /// [`FeatureLevel::NEWEST`].
    pub max_feature_level: FeatureLevel,
    /// How much of the log there may be.
    pub log_bounds: LogBounds,
    /// How peers are dialled.
    pub connector: Connector,
}

/// The cluster as this node sees it now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterStatus {
    /// The cluster; `None`: this node belongs to none yet.
    pub cluster_id: Option<ClusterId>,
    /// This node; 0: it has no place yet.
    pub node: NodeId,
    /// This node's name.
    pub name: String,
    /// The leader, as far as this node knows.
    pub leader: Option<NodeId>,
    /// The Raft term.
    pub term: u64,
    /// The last log index applied here.
    pub applied: LogIndex,
    /// The last log index here.
    pub last_log: LogIndex,
    /// Nodes that vote.
    pub voters: Vec<NodeId>,
    /// Nodes that do not.
    pub learners: Vec<NodeId>,
    /// Whether a quorum was heard of late: by the leader itself, elsewhere by a lease that the leader renewed.
    pub has_quorum: bool,
    /// Whether this node's lease holds.
    pub lease_held: bool,
    /// What the members write by now.
    pub feature_level: FeatureLevel,
    /// About how many bytes the entries of this node's log take.
    pub log_bytes: u64,
}

/// A node's registry: cheap, cloneable.
#[derive(Clone)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: RegistryConfig,
    pub(crate) folder: Arc<Folder>,
    pub(crate) routes: Routes,
    pub(crate) observers: Observers,
    pub(crate) history: WatchHistory,
    pub(crate) lease: Arc<HeldLease>,
    pub(crate) changed: Arc<Notify>,
    pub(crate) fatal: FatalSender,
    pub(crate) log: NodeLog,
    pub(crate) watching: AbortHandle,
    pub(crate) snapshots: raft::Snapshots,
    /// Places for backups.
    pub(crate) backups: Arc<Semaphore>,
    /// What Raft starts on; taken when the node takes its place.
    pub(crate) parts: Mutex<Option<(Log, Machine)>>,
    pub(crate) seated: OnceCell<Seated>,
}

impl Registry {
    /// Opens the data folder: takes its lock, reads its identity, checks the log and restores the newest snapshot.
    ///
    /// # Errors
    /// See [`StartError`]; the texts are for people and say what to do.
    pub async fn start(config: RegistryConfig) -> Result<Self, StartError> {
        check(&config)?;
        let opening = config.clone();
        let opened = blocking::spawn(move || open(&opening)).await;
        let opened = opened.map_err(|panic| StartError::Consensus(panic.to_string()))??;
        let fatal = FatalSender::new();
        let watching = tokio::spawn(report_fault(opened.log.backend().clone(), fatal.clone()));
        let history = WatchHistory::new(opened.machine.routes());
        opened.observers.add(Arc::new(history.clone()));
        let restored = opened.machine.routes().applied_index();
        if restored != LogIndex(0) {
            // What led to the snapshot is not in the history, and who waits for it need not.
            opened.observers.snapshot_installed(restored);
        }
        let registry = Self {
            inner: Arc::new(Inner {
                config,
                folder: Arc::new(opened.folder),
                routes: opened.machine.routes(),
                observers: opened.observers,
                history,
                lease: Arc::default(),
                changed: Arc::default(),
                fatal,
                log: opened.log.backend().clone(),
                watching: watching.abort_handle(),
                snapshots: opened.snapshots,
                backups: Arc::new(Semaphore::new(BACKUPS_AT_ONCE)),
                parts: Mutex::new(Some((opened.log, opened.machine))),
                seated: OnceCell::new(),
            }),
        };
        Ok(registry)
    }

    /// The gRPC services for the peer listener.
    pub fn peer_routes(&self) -> tonic::service::Routes {
        raft::peer_routes(self)
    }

    /// Founds or joins a cluster and registers this node. Call once the peer listener serves.
    ///
    /// # Errors
    /// What no waiting would mend.
    ///
    /// # Cancel safety
    /// May be called again.
    pub async fn join(&self) -> Result<(), StartError> {
        raft::join(self).await
    }

    /// Adds a follower of the log; it sees the entries applied from now on. Call before [`Self::join`].
    pub fn observe(&self, observer: Arc<dyn ApplyObserver>) {
        self.inner.observers.add(observer);
    }

    /// The cluster as this node sees it now.
    pub fn status(&self) -> ClusterStatus {
        self.inner.status()
    }

    /// How long this node's lease holds if no beat follows. Zero: it does not hold.
    pub fn lease_remaining(&self) -> Duration {
        self.inner.lease.remaining(Moment::now())
    }

    /// Watches changes of devices, after a cursor or from now on.
    ///
    /// # Errors
    /// See [`WatchError`].
    pub fn watch(&self, after: Option<Cursor>) -> Result<Watch, WatchError> {
        self.inner.history.watch(after)
    }

    /// An index at which a read of this node's replica is linearizable, once [`Registrar::wait_applied`] has it.
    ///
    /// # Errors
    /// [`ReadError::NoLeader`].
    pub async fn read_index(&self) -> Result<LogIndex, ReadError> {
        let seated = self.inner.seated.get().ok_or(ReadError::NoLeader)?;
        seated.leader.read_index().await.map_err(|error| {
            tracing::debug!(%error, "no read index");
            ReadError::NoLeader
        })
    }

    /// Ends a session wherever it is held, if it has this epoch.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn disconnect(&self, device: DeviceKey, epoch: Epoch) -> Result<LogIndex, ChangeError> {
        self.change(device, ChangeKind::Close(epoch)).await.map(|opened| opened.index)
    }

    /// Changes who belongs to the cluster, who votes, or who leads: carried to the leader, wherever it is.
    ///
    /// # Errors
    /// See [`MembershipError`].
    ///
    /// # Cancel safety
    /// Dropped, it may be done, or half done; asking again completes it.
    pub async fn change_membership(
        &self,
        change: &MembershipChange,
    ) -> Result<MembershipChanged, MembershipError> {
        let seated = self.inner.seated.get().ok_or(MembershipError::NoLeader)?;
        seated.leader.change_membership(change).await
    }

    /// Whether this node was removed from its cluster.
    pub fn was_removed(&self) -> bool {
        self.inner.folder.is_removed()
    }

    /// Resolves when the node must stop, and says why.
    pub async fn fatal(&self) -> FatalReason {
        self.inner.fatal.stopped().await
    }

    async fn change(&self, device: DeviceKey, kind: ChangeKind) -> Result<Opened, ChangeError> {
        let seated = self.inner.seated.get().ok_or(ChangeError::Lapsed)?;
        let change = SessionChange { device, kind };
        raft::judge_change(&change)
            .map_err(|large| ChangeError::TooLarge { bytes: large.bytes, limit: large.limit })?;
        seated.batcher.submit(change).await
    }
}

impl Registrar for Registry {
    async fn open(&self, device: DeviceKey, open: OpenSession) -> Result<Opened, ChangeError> {
        self.change(device, ChangeKind::Open(open)).await
    }

    async fn update(
        &self,
        device: DeviceKey,
        epoch: Epoch,
        profile: Arc<Profile>,
    ) -> Result<LogIndex, ChangeError> {
        self.change(device, ChangeKind::Update(epoch, profile)).await.map(|opened| opened.index)
    }

    fn close(&self, device: DeviceKey, epoch: Epoch) {
        let Some(seated) = self.inner.seated.get() else {
            return;
        };
        let change = SessionChange { device, kind: ChangeKind::Close(epoch) };
        if !seated.batcher.close(change) {
            tracing::error!("the queue of closes is full; the session stays until this node's next start");
        }
    }

    fn routes(&self) -> &Routes {
        &self.inner.routes
    }

    fn node(&self) -> NodeId {
        self.inner.seated.get().map_or(NodeId(0), |seated| seated.seat().node)
    }

    fn incarnation(&self) -> Incarnation {
        self.inner.lease.incarnation()
    }

    fn lease_held(&self) -> bool {
        self.inner.lease.held(Moment::now())
    }

    async fn wait_applied(&self, index: LogIndex, patience: Duration) -> Result<(), ReadError> {
        self.inner.observers.wait_applied(index, patience).await
    }
}

struct Parts {
    folder: Folder,
    log: Log,
    machine: Machine,
    snapshots: raft::Snapshots,
    observers: Observers,
}

/// Stops the node when its log can no longer keep what it acknowledges.
async fn report_fault(log: NodeLog, fatal: FatalSender) {
    let fault = log.poisoned().await;
    tracing::error!(%fault, "the log failed");
    fatal.stop(FatalReason::Storage(fault.to_string()));
}

fn open(config: &RegistryConfig) -> Result<Parts, StartError> {
    let dir = DataDir::open(&config.data_dir, &config.name)?;
    match put_aside_removed(&dir)? {
        None => {}
        Some(PutAside::Archived(archive)) => {
            tracing::info!(archive = %archive.display(), "this node was removed; its old data is put aside and it joins as new");
        }
        Some(PutAside::Deleted) => tracing::info!("this node had left its cluster; it joins as new"),
    }
    let observers = Observers::new();
    let snapshots = raft::Snapshots::open(&dir)?;
    let log = Log::new(NodeLog::open(&dir)?);
    let machine = Machine::open(snapshots.clone(), observers.clone()).map_err(StartError::Snapshot)?;
    if let Some(reason) = level::refusal(machine.routes().feature_level(), config.max_feature_level) {
        return Err(StartError::Refused(reason));
    }
    let folder = Folder::open(dir, &config.name)?;
    if folder.name() != config.name {
        return Err(StartError::Refused(format!(
            "the data folder {} belongs to node {}, and this node is called {}: \
             mend the name, or give this node a folder of its own",
            config.data_dir.display(),
            folder.name(),
            config.name
        )));
    }
    Ok(Parts { folder, log, machine, snapshots, observers })
}

fn check(config: &RegistryConfig) -> Result<(), StartError> {
    let fail = |text: String| Err(StartError::Config(text));
    if config.name.is_empty() || config.name.len() > 128 {
        return fail(format!("name must have 1 to 128 bytes, not {}", config.name.len()));
    }
    if !VOTERS.contains(&config.voters) {
        return fail(format!("voters must be one of {VOTERS:?}, not {}", config.voters));
    }
    if config.max_feature_level > FeatureLevel::NEWEST {
        return fail(format!(
            "max_feature_level is {}, this version knows levels up to {}",
            config.max_feature_level,
            FeatureLevel::NEWEST
        ));
    }
    if config.bootstrap_expect > 1 && config.join.len() != config.bootstrap_expect {
        return fail(format!(
            "bootstrap_expect is {} and join has {} addresses: the list names exactly the founding nodes, the same on each; \
             a node that joins later has bootstrap_expect = 0",
            config.bootstrap_expect,
            config.join.len()
        ));
    }
    Ok(())
}

impl Inner {
    pub(crate) fn status(&self) -> ClusterStatus {
        let known = ClusterStatus {
            cluster_id: self.routes.cluster_id().or(self.folder.seat().map(|seat| seat.cluster)),
            name: self.folder.name().to_owned(),
            applied: self.routes.applied_index(),
            lease_held: self.lease.held(Moment::now()),
            feature_level: self.routes.feature_level(),
            log_bytes: self.log.bytes_between(0, u64::MAX),
            ..ClusterStatus::default()
        };
        match self.seated.get() {
            Some(seated) => raft::status(seated, known),
            None => known,
        }
    }
}
