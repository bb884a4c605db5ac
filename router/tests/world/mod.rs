//! A cluster of routers over replicas of the bare model, in one process, with agents that are driven by hand.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod agent;
pub(crate) mod proxy;
pub(crate) mod registrar;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rollcall_registry::{
    ApplyObserver, Registrar,
    model::{
        command::{
            Addresses, Command, Expect, FoundCluster, FoundingMember, NodeDown, NodeDownReason, NodeUp,
            PutDevice,
        },
        feature_level::FeatureLevel,
        ids::{
            BootCounter, ClusterId, DeviceKey, Etag, LogIndex, NodeId, Registration, StorageId, UnixMillis,
        },
        state::State,
    },
    routes::view::Route,
};
use rollcall_router::{Call, Router, RouterConfig};
use tokio::{net::TcpListener, time::Instant};
use tokio_stream::wrappers::TcpListenerStream;

use proxy::Proxy;
use registrar::{FakeRegistrar, Log, Replica};

/// One node of the cluster.
pub(crate) struct TestNode {
    pub(crate) id: NodeId,
    pub(crate) router: Router<FakeRegistrar>,
    pub(crate) registrar: Arc<FakeRegistrar>,
    /// Where its peers dial it: a proxy that the test can cut and stall.
    address: SocketAddr,
    proxy: Arc<Proxy>,
}

/// Some nodes with one log.
pub(crate) struct Cluster {
    pub(crate) log: Arc<Log>,
    pub(crate) nodes: Vec<TestNode>,
}

/// Settings for tests: everything by default but the name.
pub(crate) fn config(name: &str) -> RouterConfig {
    RouterConfig { node_name: name.to_owned(), ..RouterConfig::default() }
}

impl Cluster {
    /// `count` nodes that are up; with links between them if there are several.
    pub(crate) async fn start(count: u64) -> Self {
        Self::with(count, |_| {}).await
    }

    /// The same, with changed settings.
    pub(crate) async fn with(count: u64, change: impl Fn(&mut RouterConfig)) -> Self {
        let mut listeners = Vec::new();
        let mut proxies = Vec::new();
        for _ in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            proxies.push(Proxy::start(listener.local_addr().expect("an address")).await);
            listeners.push(listener);
        }
        let addresses: Vec<SocketAddr> = proxies.iter().map(|proxy| proxy.address).collect();
        let log = Arc::new(Log::new((1..=count).map(|_| Replica::new(State::new())).collect()));
        log.append(Command::FoundCluster(FoundCluster {
            cluster_id: ClusterId(7),
            members: addresses.iter().zip(1..).map(|(address, id)| member(id, address)).collect(),
            token_key: [3; 32],
            epoch_base: 0,
            registration: Default::default(),
        }));
        let mut nodes = Vec::new();
        for ((listener, proxy), id) in listeners.into_iter().zip(proxies).zip(1..) {
            let registrar = Arc::new(FakeRegistrar::new(NodeId(id), Arc::clone(&log)));
            let mut config = config(&format!("n{id}"));
            change(&mut config);
            let router = Router::new(config, Arc::clone(&registrar));
            log.observe(id as usize - 1, router.observer());
            if count > 1 {
                serve(&router, listener);
            }
            nodes.push(TestNode { id: NodeId(id), router, registrar, address: proxy.address, proxy });
        }
        let cluster = Self { log, nodes };
        (1..=count).for_each(|id| cluster.up(id, 1));
        cluster.await_links().await;
        cluster
    }

    /// Registers a node, with this registration number.
    pub(crate) fn up(&self, id: u64, registration: u64) {
        self.log.append(Command::NodeUp(NodeUp {
            node: NodeId(id),
            storage: StorageId(u128::from(id)),
            boot: BootCounter(1),
            registration: Registration(registration),
            addresses: addresses(&self.nodes[id as usize - 1].address),
            version: "test".into(),
            at: UnixMillis(0),
            feature_level: FeatureLevel::NEWEST,
        }));
    }

    /// A node's lease lapses.
    pub(crate) fn down(&self, id: u64) {
        let incarnation = self.log.incarnation(NodeId(id));
        self.log.append(Command::NodeDown(NodeDown {
            floor: None,
            node: NodeId(id),
            incarnation,
            reason: NodeDownReason::LeaseLapsed,
            at: UnixMillis(0),
        }));
    }

    /// An administrator disables a device.
    pub(crate) fn disable(&self, device: &str) {
        self.log.append(Command::PutDevice(PutDevice {
            device: DeviceKey::new("", device),
            expect: Expect::AnyRecord,
            new_etag: Etag(1),
            groups: None,
            labels: None,
            enabled: Some(false),
        }));
    }

    /// Waits until the registry has no session of a device.
    pub(crate) async fn await_away(&self, device: &str) {
        let routes = self.nodes[0].registrar.routes();
        wait_until("the session is closed", || matches!(routes.route("", device), Route::NotConnected)).await;
    }

    /// A node's router.
    pub(crate) fn router(&self, id: u64) -> &Router<FakeRegistrar> {
        &self.nodes[id as usize - 1].router
    }

    /// A node's registrar.
    pub(crate) fn registrar(&self, id: u64) -> &FakeRegistrar {
        &self.nodes[id as usize - 1].registrar
    }

    /// Where a node is dialled by its peers.
    pub(crate) fn address(&self, id: u64) -> SocketAddr {
        self.nodes[id as usize - 1].address
    }

    /// Cuts all links to a node and lets no new ones through.
    pub(crate) fn cut(&self, id: u64) {
        self.nodes[id as usize - 1].proxy.cut();
    }

    /// Lets links through again.
    pub(crate) fn mend(&self, id: u64) {
        self.nodes[id as usize - 1].proxy.mend();
    }

    /// While stalled, links to a node stay open and carry nothing.
    pub(crate) fn stall(&self, id: u64, stalled: bool) {
        self.nodes[id as usize - 1].proxy.stall(stalled);
    }

    async fn await_links(&self) {
        for from in &self.nodes {
            for to in self.nodes.iter().filter(|to| to.id != from.id) {
                let up = || from.router.link(to.id).is_some_and(|link| link.up);
                wait_until("the links are up", up).await;
            }
        }
    }
}

fn serve(router: &Router<FakeRegistrar>, listener: TcpListener) {
    let service = router.link_service();
    tokio::spawn(async move {
        let incoming = TcpListenerStream::new(listener);
        let mut server = tonic::transport::Server::builder().initial_connection_window_size(8 * 1024 * 1024);
        server.add_service(service).serve_with_incoming(incoming).await.expect("the server runs");
    });
}

fn addresses(address: &SocketAddr) -> Addresses {
    Addresses { peer: address.to_string(), ..Addresses::default() }
}

fn member(id: u64, address: &SocketAddr) -> FoundingMember {
    FoundingMember {
        node: NodeId(id),
        name: format!("n{id}").into(),
        storage: StorageId(u128::from(id)),
        addresses: addresses(address),
    }
}

/// Waits for a condition, at most ten seconds.
pub(crate) async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A call of group `g` for action `echo`, due in ten seconds.
pub(crate) fn call() -> Call {
    let mut call = Call::new("g", "echo", "r-1");
    call.deadline = call.arrived + Duration::from_secs(10);
    call
}

/// The same, to a named device.
pub(crate) fn call_to(device: &str) -> Call {
    Call { device_id: Some(device.into()), ..call() }
}

/// A call that must not take longer than this.
pub(crate) fn call_within(device: &str, patience: Duration) -> Call {
    let call = call_to(device);
    Call { deadline: call.arrived + patience, ..call }
}

/// An observer that does nothing.
pub(crate) struct Deaf;

impl ApplyObserver for Deaf {
    fn applied(&self, _: LogIndex, _: &[rollcall_registry::model::event::Event]) {}
    fn snapshot_installed(&self, _: LogIndex) {}
}
