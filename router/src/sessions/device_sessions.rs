//! All device sessions of this node, and their dealings with the registry.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use rollcall_proto::device::{CloseCode, Welcome};
use rollcall_registry::{
    Registrar,
    model::ids::{DeviceKey, Epoch},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    connection::Connection,
    departing::Departing,
    device_connection::DeviceConnection,
    host::{Host, Request, Shared},
    lingering::{LingeringTable, Lingers},
    live::LiveDevice,
    outgoing::Outgoing,
    replays::HeldReplays,
    rivals::RivalWatch,
    shared_runs::SharedRuns,
    sites::SiteWatch,
    state::{PROTOCOL, Supersession},
    table::LiveTable,
};
use crate::{core::admission::Admission, delivery::LateAnswers, limits, links::peers::Peers};

/// All device sessions of this node.
pub(crate) struct DeviceSessions<R> {
    pub(super) me: Weak<Self>,
    pub(crate) registry: Arc<R>,
    pub(crate) shared: Arc<Shared>,
    /// The devices that can be called.
    pub(crate) table: LiveTable,
    /// Those that take no new calls.
    pub(crate) lingering: LingeringTable,
    /// The other nodes.
    pub(crate) peers: Arc<Peers<R>>,
    /// Answers that could not be passed on yet.
    pub(super) held_replays: HeldReplays,
    /// Idempotent calls on them.
    pub(crate) runs: Arc<SharedRuns>,
    pub(super) runtime: Handle,
    pub(super) openings: AtomicUsize,
    /// Held while a session moves to another connection. Taken before any connection's lock.
    pub(super) resuming: Mutex<()>,
    /// Devices whose attach waits for its commit, with how many attaches.
    pub(crate) awaited: Mutex<HashMap<DeviceKey, u32>>,
    /// Wakes the announcer: this node has lost its place in the cluster, or has one again.
    pub(crate) lapsed: Arc<Notify>,
    /// Sessions that are being announced again, by the epoch that they had.
    pub(super) announcing: Mutex<HashSet<Epoch>>,
    /// Rises when a device may have become callable.
    pub(crate) arrivals: watch::Sender<u64>,
    pub(super) admission: Mutex<Admission>,
    pub(super) sites: SiteWatch,
    pub(super) rivals: RivalWatch,
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
    next_connection: AtomicU64,
    draining: AtomicBool,
}

impl<R: Registrar> DeviceSessions<R> {
    /// No sessions yet. Must be called within a Tokio runtime.
    pub(crate) fn new(registry: Arc<R>, peers: Arc<Peers<R>>, shared: Arc<Shared>) -> Arc<Self> {
        let admission = Mutex::new(Admission::new(shared.config.connects_per_second, Instant::now()));
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            registry,
            shared,
            table: LiveTable::default(),
            lingering: LingeringTable::default(),
            peers,
            held_replays: HeldReplays::default(),
            runs: SharedRuns::new(),
            runtime: Handle::current(),
            openings: AtomicUsize::new(0),
            resuming: Mutex::default(),
            awaited: Mutex::default(),
            lapsed: Arc::default(),
            announcing: Mutex::default(),
            arrivals: watch::Sender::new(0),
            admission,
            sites: SiteWatch::default(),
            rivals: RivalWatch::new(),
            connections: Mutex::default(),
            next_connection: AtomicU64::new(1),
            draining: AtomicBool::new(false),
        })
    }

    /// A device connection of any transport.
    pub(crate) fn connect(self: &Arc<Self>, remote_addr: &str) -> (DeviceConnection, Outgoing) {
        let id = self.next_connection.fetch_add(1, Ordering::Relaxed);
        let host: Arc<dyn Host> = Arc::clone(self) as Arc<dyn Host>;
        let connection = Arc::new(Connection::new(id, remote_addr.into(), host, Arc::clone(&self.shared)));
        self.connections.lock().insert(id, Arc::clone(&connection));
        (DeviceConnection { connection: Arc::clone(&connection) }, Outgoing { connection })
    }

    /// All connections, as they are now.
    pub(crate) fn connections(&self) -> Vec<Arc<Connection>> {
        self.connections.lock().values().cloned().collect()
    }

    /// The names of all connections, as they are now.
    pub(crate) fn connection_ids(&self) -> Vec<u64> {
        self.connections.lock().keys().copied().collect()
    }

    /// A connection, while it is open.
    pub(crate) fn connection(&self, id: u64) -> Option<Arc<Connection>> {
        self.connections.lock().get(&id).cloned()
    }

    /// Whether devices are being sent away.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Takes no more devices and asks those that are here to move within a time.
    pub(crate) fn start_draining(&self, within: Duration) -> Departing {
        self.draining.store(true, Ordering::Relaxed);
        self.send_away(within, "the node shuts down")
    }

    /// Ends all connections, and all sessions that wait for their devices.
    pub(crate) fn cut_all(&self) {
        for connection in self.connections() {
            connection.shut("the node shuts down");
        }
        for connection in self.lingering.connections() {
            connection.shut("the node shuts down");
        }
    }

    /// A newer session took over from one of this node's.
    pub(super) fn superseded(&self, epoch: Epoch, by: Supersession) {
        if let Some(live) = self.outlive(epoch, CloseCode::Superseded) {
            live.connection.superseded(&live, by);
        }
    }

    /// The registry no longer has one of this node's sessions.
    pub(super) fn ended(&self, epoch: Epoch, code: CloseCode, message: &str) {
        if let Some(live) = self.outlive(epoch, code) {
            live.connection.close(&live, code, message);
        }
    }

    /// The registry no longer has a session: no new calls reach it, and nothing is to be closed when it ends.
    fn outlive(&self, epoch: Epoch, code: CloseCode) -> Option<Arc<LiveDevice>> {
        let Some(live) = self.take(epoch, code) else { return self.lingering.outlive(epoch) };
        self.lingering.insert(Arc::clone(&live), Lingers::Outlived);
        Some(live)
    }

    /// A session has lost its connection.
    fn suspended(&self, live: Arc<LiveDevice>, code: CloseCode) {
        let carried = |at: &Arc<LiveDevice>| Arc::ptr_eq(&at.connection, &live.connection);
        if self.table.get(live.epoch).as_ref().is_some_and(carried) {
            tracing::debug!(device = %live.key, epoch = %live.epoch, code = code.as_str_name(), "device lost");
            self.lingering.insert(Arc::clone(&live), Lingers::Suspended);
            self.table.remove(live.epoch);
            self.site_loses(&live, code);
            self.shared.metrics.suspended.increment(1);
            self.show_sessions();
        }
    }

    /// A session is over on its connection.
    fn closed(&self, live: &LiveDevice, code: CloseCode) {
        let carried = |at: &Arc<LiveDevice>| Arc::ptr_eq(&at.connection, &live.connection);
        // What is in neither table any more was ended by the registry itself.
        let registered = match self.lingering.remove(live.epoch) {
            Some((_, why)) => {
                let suspended = why == Lingers::Suspended;
                if suspended {
                    self.shared.metrics.closed(code);
                    self.show_sessions();
                }
                suspended
            }
            None => {
                self.table.get(live.epoch).as_ref().is_some_and(carried)
                    && self.take(live.epoch, code).is_some()
            }
        };
        if registered {
            self.registry.close(live.key.clone(), live.epoch);
        }
    }

    /// Takes a session out of the table: no new calls reach it.
    pub(super) fn take(&self, epoch: Epoch, code: CloseCode) -> Option<Arc<LiveDevice>> {
        let live = self.table.remove(epoch)?;
        self.site_loses(&live, code);
        self.shared.metrics.closed(code);
        self.show_sessions();
        Some(live)
    }

    pub(super) fn show_sessions(&self) {
        self.shared.metrics.sessions.set(self.table.len() as f64);
        self.shared.metrics.away.set(self.lingering.suspended() as f64);
    }

    /// Addresses of other nodes for devices.
    pub(super) fn other_device_addrs(&self) -> Vec<String> {
        let me = self.registry.node();
        let others = self.registry.routes().nodes().into_iter().filter(|node| node.id != me && node.up);
        others.map(|node| node.addresses.device.clone()).filter(|addr| !addr.is_empty()).collect()
    }
}

impl<R: Registrar> Host for DeviceSessions<R> {
    fn welcome(&self) -> Welcome {
        let routes = self.registry.routes();
        let addrs = routes.nodes().into_iter().map(|node| node.addresses.device.clone());
        let config = &self.shared.config;
        Welcome {
            protocol: PROTOCOL,
            node: config.node_name.clone(),
            cluster_id: routes.cluster_id().map(|id| id.to_string()).unwrap_or_default(),
            heartbeat_interval: prost_types::Duration::try_from(config.heartbeat_interval).ok(),
            max_payload_bytes: config.max_payload_bytes as u64,
            chunk_bytes: limits::CHUNK_BYTES as u32,
            max_slots: limits::SLOTS_PER_CONNECTION,
            device_addrs: addrs.filter(|addr| !addr.is_empty()).collect(),
            resume_window: prost_types::Duration::try_from(config.resume_window).ok(),
            // As the agent's Hello has it.
            credit: false,
        }
    }

    fn request(&self, connection: &Arc<Connection>, request: Request) {
        match request {
            Request::Open { slot, opening, attach } => {
                if let Some(me) = self.me.upgrade() {
                    let connection = Arc::clone(connection);
                    self.runtime.spawn(async move { me.open(connection, slot, opening, attach).await });
                }
            }
            Request::Update { live, update_number, profile } => {
                if let Some(me) = self.me.upgrade() {
                    self.runtime.spawn(async move { me.update(live, update_number, profile).await });
                }
            }
            Request::Suspended { live, code } => self.suspended(live, code),
            Request::Closed { live, code } => self.closed(&live, code),
            Request::Replay(replayed) => self.pass_on(*replayed),
            Request::Ask { live, successor, tokens } => self.ask(&live, successor, tokens),
        }
    }

    fn forget(&self, connection: &Arc<Connection>) {
        self.connections.lock().remove(&connection.id);
    }
}
