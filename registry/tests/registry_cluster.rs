//! Registries in one process, each with a peer listener on loopback and a folder of its own: founding, joining,
//! committing through any node, coming back from disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rollcall_registry::{
    Registrar, Registry, RegistryConfig, StartError,
    model::{
        command::{Addresses, OpenSession},
        ids::{AttachNumber, DeviceKey, Epoch, InstanceId, LogIndex, NodeId},
        profile::Profile,
    },
    routes::view::Route,
    storage::StorageError,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::transport::server::TcpIncoming;

struct Node {
    registry: Registry,
    serving: JoinHandle<()>,
    joining: JoinHandle<Result<(), StartError>>,
}

#[derive(Clone)]
struct Place {
    name: String,
    addr: SocketAddr,
    dir: PathBuf,
}

fn places(root: &Path, names: &[&str]) -> Vec<Place> {
    let reserve = |_: &_| std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listeners: Vec<_> = names.iter().map(reserve).collect();
    let addrs = listeners.iter().map(|listener| listener.local_addr().unwrap());
    names
        .iter()
        .zip(addrs)
        .map(|(name, addr)| Place { name: (*name).into(), addr, dir: root.join(name) })
        .collect()
}

async fn start(place: &Place, join: &[Place], expect: usize) -> Node {
    let config = RegistryConfig {
        name: place.name.clone(),
        data_dir: place.dir.clone(),
        join: join.iter().map(|place| place.addr.to_string()).collect(),
        bootstrap_expect: expect,
        advertise: Addresses { peer: place.addr.to_string(), ..Addresses::default() },
        version: "test".to_owned(),
    };
    let registry = start_once_free(config).await;
    let incoming = TcpIncoming::from(TcpListener::bind(place.addr).await.unwrap());
    let server = tonic::transport::Server::builder().add_routes(registry.peer_routes());
    let serving = tokio::spawn(async move { server.serve_with_incoming(incoming).await.unwrap() });
    let joiner = registry.clone();
    let joining = tokio::spawn(async move { joiner.join().await });
    Node { registry, serving, joining }
}

/// In one process, the connections of a stopped node's server hold its folder a moment longer.
async fn start_once_free(config: RegistryConfig) -> Registry {
    let started = async {
        loop {
            match Registry::start(config.clone()).await {
                Err(StartError::Storage(StorageError::InUse { .. })) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                started => return started.unwrap(),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), started).await.expect("the folder stays in use")
}

impl Node {
    async fn joined(&mut self) {
        let joined = tokio::time::timeout(Duration::from_secs(20), &mut self.joining).await;
        joined.expect("the node did not join in time").unwrap().unwrap();
    }

    async fn has(&self, index: LogIndex) {
        self.registry.wait_applied(index, Duration::from_secs(5)).await.unwrap();
    }

    fn holder(&self, device: &DeviceKey) -> Option<(NodeId, Epoch)> {
        match self.registry.routes().route(&device.namespace, &device.device) {
            Route::Held { session, .. } => Some((session.node, session.epoch)),
            _ => None,
        }
    }

    async fn stop(self) {
        self.registry.shutdown().await;
        self.joining.abort();
        self.serving.abort();
        assert!(self.serving.await.unwrap_err().is_cancelled());
    }
}

fn open_session(attach_number: u64) -> OpenSession {
    OpenSession {
        instance: InstanceId(7),
        attach_number: AttachNumber(attach_number),
        profile: Arc::new(Profile::new(["sign"], [("site", "hz1")], ["echo"], 4)),
        remote_addr: "127.0.0.1:1".into(),
        only_if: None,
    }
}

async fn start_all(places: &[Place]) -> Vec<Node> {
    let mut nodes = Vec::new();
    // The candidate comes last: the order must not matter.
    for place in places.iter().rev() {
        nodes.insert(0, start(place, places, 3).await);
    }
    for node in &mut nodes {
        node.joined().await;
    }
    nodes
}

async fn stop_all(nodes: Vec<Node>) {
    futures::future::join_all(nodes.into_iter().map(Node::stop)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_empty_folders_become_one_cluster_and_commit_through_any_node() {
    let root = tempfile::tempdir().unwrap();
    let nodes = start_all(&places(root.path(), &["n1", "n2", "n3"])).await;

    let ids: BTreeSet<_> = nodes.iter().map(|node| node.registry.status().cluster_id).collect();
    assert_eq!(ids.len(), 1);
    for (number, node) in (1..).zip(&nodes) {
        assert_eq!(node.registry.node(), NodeId(number));
        let device = DeviceKey::new("", &format!("phone-{number}"));
        let opened = node.registry.open(device.clone(), open_session(1)).await.unwrap();
        for other in &nodes {
            other.has(opened.index).await;
            assert_eq!(other.holder(&device), Some((NodeId(number), opened.epoch)));
        }
    }
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_close_of_an_older_session_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let nodes = start_all(&places(root.path(), &["n1", "n2", "n3"])).await;
    let device = DeviceKey::new("", "phone");
    let old = nodes[0].registry.open(device.clone(), open_session(1)).await.unwrap();
    let new = nodes[1].registry.open(device.clone(), open_session(2)).await.unwrap();
    assert!(new.epoch > old.epoch);

    let late = nodes[0].registry.disconnect(device.clone(), old.epoch).await;
    assert!(late.is_err(), "a close of an older epoch was taken");
    let barrier = nodes[0].registry.open(DeviceKey::new("", "other"), open_session(1)).await.unwrap();
    nodes[2].has(barrier.index).await;
    assert_eq!(nodes[2].holder(&device), Some((NodeId(2), new.epoch)));
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_was_stopped_comes_back_with_its_devices_and_higher_epochs() {
    let root = tempfile::tempdir().unwrap();
    let places = places(root.path(), &["n1", "n2", "n3"]);
    let nodes = start_all(&places).await;
    let device = DeviceKey::new("", "phone");
    let before = nodes[0].registry.open(device.clone(), open_session(1)).await.unwrap();
    stop_all(nodes).await;

    let nodes = start_all(&places).await;
    for node in &nodes {
        node.has(before.index).await;
        assert!(node.registry.routes().device(&device).is_some(), "the record is lost");
        assert_eq!(node.holder(&device), None, "the session outlived its holder's process");
    }
    let after = nodes[2].registry.open(device.clone(), open_session(2)).await.unwrap();
    assert!(after.epoch > before.epoch);
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fourth_node_joins_as_a_learner_and_has_everything() {
    let root = tempfile::tempdir().unwrap();
    let founders = places(root.path(), &["n1", "n2", "n3"]);
    let mut nodes = start_all(&founders).await;
    let device = DeviceKey::new("", "phone");
    let opened = nodes[0].registry.open(device.clone(), open_session(1)).await.unwrap();

    let mut newcomer = start(&places(root.path(), &["n4"])[0], &founders, 0).await;
    newcomer.joined().await;
    newcomer.has(opened.index).await;
    assert_eq!(newcomer.holder(&device), Some((NodeId(1), opened.epoch)));
    let mine = DeviceKey::new("", "mine");
    let here = newcomer.registry.open(mine.clone(), open_session(1)).await.unwrap();
    nodes[0].has(here.index).await;
    assert_eq!(nodes[0].holder(&mine).unwrap().0, NodeId(4));
    let status = newcomer.registry.status();
    assert_eq!((status.voters.len(), status.learners), (3, vec![NodeId(4)]));
    nodes.push(newcomer);
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_index_covers_what_was_acknowledged_elsewhere() {
    let root = tempfile::tempdir().unwrap();
    let nodes = start_all(&places(root.path(), &["n1", "n2", "n3"])).await;
    let device = DeviceKey::new("", "phone");
    let opened = nodes[0].registry.open(device.clone(), open_session(1)).await.unwrap();
    for node in &nodes {
        let index = node.registry.read_index().await.unwrap();
        assert!(index >= opened.index);
        node.has(index).await;
        assert!(node.holder(&device).is_some());
    }
    stop_all(nodes).await;
}
