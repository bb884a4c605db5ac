//! Registries in one process, each on a runtime of its own, so that a node can vanish or freeze like a process.

#![allow(dead_code, unused_imports, reason = "each test file uses its part")]

mod line;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::Duration,
};

use rollcall_registry::{
    Cursor, LogBounds, Registrar, Registry, RegistryConfig, StartError, WatchError,
    model::{
        command::{Addresses, OpenSession},
        ids::{AttachNumber, DeviceKey, Epoch, InstanceId, LogIndex, NodeId},
        profile::Profile,
    },
    routes::view::Route,
    storage::StorageError,
};
use tokio::{net::TcpListener, runtime::Runtime, task::JoinHandle};
use tonic::transport::server::TcpIncoming;

pub(crate) use line::Line;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) name: String,
    /// Where others reach it.
    pub(crate) addr: SocketAddr,
    /// Where it listens.
    pub(crate) listens: SocketAddr,
    pub(crate) dir: PathBuf,
    pub(crate) log_bounds: LogBounds,
}

pub(crate) fn places(root: &Path, names: &[&str]) -> Vec<Place> {
    let reserve = |_: &_| std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listeners: Vec<_> = names.iter().map(reserve).collect();
    let addrs = listeners.iter().map(|listener| listener.local_addr().unwrap());
    let place = |(name, addr): (&&str, _)| Place {
        name: (*name).into(),
        addr,
        listens: addr,
        dir: root.join(name),
        log_bounds: LogBounds::default(),
    };
    names.iter().zip(addrs).map(place).collect()
}

pub(crate) struct Node {
    pub(crate) registry: Registry,
    joining: JoinHandle<Result<(), StartError>>,
    runtime: Runtime,
}

/// Starts a node; does not wait until it has joined.
pub(crate) async fn start(place: &Place, join: &[Place], expect: usize) -> Node {
    let mut node = serve(place, join, expect).await;
    node.join();
    node
}

/// Starts a node that answers its peers and does not yet join.
pub(crate) async fn serve(place: &Place, join: &[Place], expect: usize) -> Node {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = config(place, join, expect);
    let addr = place.listens;
    let started = runtime.spawn(async move {
        let registry = start_once_free(config).await.unwrap();
        let incoming = TcpIncoming::from(TcpListener::bind(addr).await.unwrap());
        let server = tonic::transport::Server::builder().add_routes(registry.peer_routes());
        tokio::spawn(server.serve_with_incoming(incoming));
        registry
    });
    let registry = started.await.unwrap();
    let joining = runtime.spawn(std::future::pending());
    Node { registry, joining, runtime }
}

/// What comes of opening the folder of a node alone.
pub(crate) async fn try_start(place: &Place) -> Result<Registry, StartError> {
    start_once_free(config(place, std::slice::from_ref(place), 1)).await
}

fn config(place: &Place, join: &[Place], expect: usize) -> RegistryConfig {
    RegistryConfig {
        name: place.name.clone(),
        data_dir: place.dir.clone(),
        join: join.iter().map(|place| place.addr.to_string()).collect(),
        bootstrap_expect: expect,
        advertise: Addresses { peer: place.addr.to_string(), ..Addresses::default() },
        version: "test".to_owned(),
        voters: 3,
        learner_ttl: std::time::Duration::ZERO,
        log_bounds: place.log_bounds,
        max_feature_level: rollcall_registry::model::feature_level::FeatureLevel::NEWEST,
        registration: Default::default(),
        connector: Default::default(),
    }
}

/// In one process, what a stopped node leaves behind holds its folder a moment longer.
async fn start_once_free(config: RegistryConfig) -> Result<Registry, StartError> {
    let started = async {
        loop {
            match Registry::start(config.clone()).await {
                Err(StartError::Storage(StorageError::InUse { .. })) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                started => return started,
            }
        }
    };
    tokio::time::timeout(PATIENCE, started).await.expect("the folder stays in use")
}

impl Node {
    pub(crate) fn join(&mut self) {
        let joiner = self.registry.clone();
        self.joining = self.runtime.spawn(async move { joiner.join().await });
    }

    pub(crate) async fn joined(&mut self) {
        let joined = tokio::time::timeout(PATIENCE, &mut self.joining).await;
        joined.expect("the node did not join in time").unwrap().unwrap();
    }

    /// Why joining ended.
    pub(crate) async fn refused(&mut self) -> String {
        let joined = tokio::time::timeout(PATIENCE, &mut self.joining).await;
        joined.expect("the node goes on trying").unwrap().unwrap_err().to_string()
    }

    pub(crate) fn id(&self) -> NodeId {
        self.registry.node()
    }

    pub(crate) async fn has(&self, index: LogIndex) {
        self.registry.wait_applied(index, PATIENCE).await.unwrap();
    }

    pub(crate) fn holder(&self, device: &DeviceKey) -> Option<(NodeId, Epoch)> {
        match self.registry.routes().route(&device.namespace, &device.device) {
            Route::Held { session, .. } => Some((session.node, session.epoch)),
            _ => None,
        }
    }

    /// Has it build a snapshot and give its log up to there up.
    pub(crate) async fn compacts(&self) -> LogIndex {
        let compacted = tokio::time::timeout(PATIENCE, self.registry.compact_log()).await;
        compacted.expect("the log is not given up").unwrap()
    }

    /// Whether it knows changes right after this entry only from a snapshot.
    pub(crate) fn got_a_snapshot_beyond(&self, index: LogIndex) -> bool {
        let cluster = self.registry.status().cluster_id.unwrap();
        let begins = Cursor { cluster, index, position: u32::MAX };
        matches!(self.registry.watch(Some(begins)), Err(WatchError::TooOld { .. }))
    }

    pub(crate) fn sees_up(&self, node: NodeId) -> bool {
        self.registry.routes().node(node).is_some_and(|view| view.up)
    }

    pub(crate) async fn stop(self) {
        self.registry.shutdown().await;
        self.vanish();
    }

    /// Ends all its tasks at once: as when the process is killed.
    pub(crate) fn vanish(self) {
        self.runtime.shutdown_background();
    }

    /// Stands still until the returned end is dropped: as when the process is stopped.
    pub(crate) fn freeze(&self) -> mpsc::Sender<()> {
        let (thaw, thawed) = mpsc::channel::<()>();
        // It blocks the runtime's only thread, and ends with an error when the other end is dropped.
        self.runtime.spawn(async move { thawed.recv().unwrap_or_default() });
        thaw
    }
}

/// A cluster of these places, all joined.
pub(crate) async fn cluster(places: &[Place]) -> Vec<Node> {
    let mut nodes = Vec::new();
    // The candidate comes last: the order must not matter.
    for place in places.iter().rev() {
        nodes.insert(0, start(place, places, places.len()).await);
    }
    for node in &mut nodes {
        node.joined().await;
    }
    nodes
}

pub(crate) async fn stop_all(nodes: Vec<Node>) {
    futures::future::join_all(nodes.into_iter().map(Node::stop)).await;
}

/// Takes the leader out of the nodes, or one that does not lead.
pub(crate) async fn take(nodes: &mut Vec<Node>, leads: bool) -> Node {
    let leader = || nodes.iter().find_map(|node| node.registry.status().leader);
    wait_until("a leader is known", || leader().is_some()).await;
    let leader = leader();
    let at = nodes.iter().position(|node| (Some(node.id()) == leader) == leads).unwrap();
    nodes.remove(at)
}

pub(crate) async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let held = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, held).await.is_ok(), "waited in vain: {what}");
}

pub(crate) fn device(name: &str) -> DeviceKey {
    DeviceKey::new("", name)
}

pub(crate) fn open_session(attach_number: u64) -> OpenSession {
    OpenSession {
        instance: InstanceId(7),
        attach_number: AttachNumber(attach_number),
        profile: Arc::new(Profile::new(["sign"], [("site", "hz1")], ["echo"], 4)),
        remote_addr: "127.0.0.1:1".into(),
        only_if: None,
    }
}
