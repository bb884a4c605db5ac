//! The router as the rest of a node sees it: the only way in.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rollcall_proto::peer::link_service_server::{LinkService, LinkServiceServer};
use rollcall_registry::{ApplyObserver, Registrar, model::ids::NodeId};
use tokio::{
    sync::{Notify, mpsc},
    task::AbortHandle,
    time::{Instant, sleep},
};

use crate::{
    broadcast::{Broadcast, Started},
    call::{Call, Reply},
    config::RouterConfig,
    core::{balance::Balance, pressure::Work},
    dispatch::{broadcast::Sender, dispatcher::Dispatcher, pipeline::Pipeline},
    limits,
    links::{
        peers::{self, Peers},
        service::Links,
        view::LinkView,
    },
    measure::{Vitals, measure},
    metrics::Metrics,
    outcome::Failure,
    sessions::{
        announcer, departing::Departing, device_connection::DeviceConnection,
        device_sessions::DeviceSessions, host::Shared, observer::Observer, outgoing::Outgoing, sweeper,
    },
};

/// How often a drain looks whether it is done.
const DRAIN_CHECK: Duration = Duration::from_millis(20);

struct Inner<R> {
    dispatcher: Dispatcher<R>,
    sessions: Arc<DeviceSessions<R>>,
    peers: Arc<Peers<R>>,
    nodes: Arc<Notify>,
    tasks: [AbortHandle; 4],
}

impl<R> Drop for Inner<R> {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Calls, live device sessions and links of one node. Cheap to clone.
pub struct Router<R: Registrar> {
    inner: Arc<Inner<R>>,
}

impl<R: Registrar> Clone for Router<R> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<R: Registrar> Router<R> {
    /// A router over this registry. Dials peers from now on. Must be called within a Tokio runtime, after the metrics
    /// recorder was installed.
    pub fn new(config: RouterConfig, registry: Arc<R>) -> Self {
        let (metrics, vitals) = (Metrics::new(), Vitals::default());
        let shared = Arc::new(Shared { config, metrics, device_calls: 0.into(), vitals });
        let peers = Arc::new(Peers::new(Arc::clone(&registry), Arc::clone(&shared)));
        let sessions = DeviceSessions::new(registry, Arc::clone(&peers), shared);
        let nodes = Arc::new(Notify::new());
        let tasks = [
            tokio::spawn(sweeper::sweep(Arc::downgrade(&sessions))).abort_handle(),
            tokio::spawn(measure(Arc::downgrade(&sessions))).abort_handle(),
            tokio::spawn(announcer::announce(Arc::downgrade(&sessions), Arc::clone(&sessions.lapsed)))
                .abort_handle(),
            tokio::spawn(peers::follow(Arc::downgrade(&peers), Arc::clone(&nodes))).abort_handle(),
        ];
        let dispatcher = Dispatcher::new(Arc::clone(&sessions), Arc::clone(&peers));
        Self { inner: Arc::new(Inner { dispatcher, sessions, peers, nodes, tasks }) }
    }

    /// Must follow the registry's log from before the first device connects: ends sessions that were superseded or
    /// closed elsewhere, wakes calls that wait for a device, notices peers.
    pub fn observer(&self) -> Arc<dyn ApplyObserver> {
        Arc::new(Observer::new(&self.inner.sessions, Arc::clone(&self.inner.nodes)))
    }

    /// The service for peers' links, for the peer listener.
    pub fn link_service(&self) -> LinkServiceServer<impl LinkService + use<R>> {
        LinkServiceServer::new(Links { sessions: Arc::clone(&self.inner.sessions) })
    }

    /// Calls a device and waits for its answer, at most until the call's deadline.
    ///
    /// At most once: it is sent to another device or node only if it surely was not executed.
    ///
    /// # Errors
    /// See [`crate::Reason`]; the failure's outcome says what is known about the execution.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call at the device.
    pub fn invoke(&self, call: Call) -> impl Future<Output = Result<Reply, Failure>> + Send {
        // Boxed, and no `async fn` in between: each would copy the call, and a caller with many in flight moves them.
        self.inner.dispatcher.invoke(Box::new(call), 0)
    }

    /// For a caller who has many calls in flight: cheaper than a future for each. They keep to what [`Self::invoke`]
    /// says.
    pub fn pipeline(&self) -> Pipeline<R> {
        Pipeline::new(self.clone())
    }

    pub(crate) fn dispatcher(&self) -> &Dispatcher<R> {
        &self.inner.dispatcher
    }

    /// Calls every connected device of a group, or those that carry some labels: the devices are taken at one index of
    /// the registry, and each has exactly one result. It ends with a summary.
    ///
    /// At most once to each device: it is called again only if it surely did not execute the call, up to
    /// [`limits::BROADCAST_ATTEMPTS`] times. Memory is that of the devices' ids, [`limits::BROADCAST_TARGETS`] of them at
    /// most, and of the calls in flight.
    ///
    /// # Errors
    /// `NO_DEVICE`: there is no such device. `OVERLOADED`: too many devices, or too many broadcasts run.
    ///
    /// # Cancel safety
    /// Dropping the events stops what is not sent, and cancels what is in flight at the devices.
    pub async fn broadcast(&self, broadcast: Broadcast) -> Result<Started, Failure> {
        let sender = Sender::prepare(&self.inner.dispatcher, broadcast).await?;
        let (events, receiver) = mpsc::channel(limits::BROADCAST_CHANNEL);
        let (targets, index, router) = (sender.targets(), sender.index(), self.clone());
        tokio::spawn(async move { sender.run(&router.inner.dispatcher, events).await });
        Ok(Started { targets, index, events: receiver })
    }

    /// A device connection of any transport, from this address: frames in, frames out.
    ///
    /// The transport reads frames into the first and writes those of the second; dropping either means that the
    /// connection is lost.
    pub fn connect(&self, remote_addr: String) -> (DeviceConnection, Outgoing) {
        self.inner.sessions.connect(&remote_addr)
    }

    /// Whether the node has time for lists and watches: under pressure they are the first to be refused.
    ///
    /// # Errors
    /// `OVERLOADED`, with advice on when to ask again.
    pub fn admit_listing(&self) -> Result<(), Failure> {
        let shared = &self.inner.sessions.shared;
        shared.vitals.take_on(Work::Listing, self.calls_in_flight(), &shared.metrics)
    }

    /// The links to a peer; `None` for this node and for one that is no member.
    pub fn link(&self, node: NodeId) -> Option<LinkView> {
        self.inner.peers.get(node).map(|peer| peer.view())
    }

    /// Devices that are connected to this node.
    pub fn device_count(&self) -> usize {
        self.inner.sessions.table.len()
    }

    /// How many calls this node's devices have, in any phase: waiting, on their way, running.
    pub fn device_calls(&self) -> u64 {
        self.inner.sessions.shared.device_calls.load(Ordering::Relaxed)
    }

    /// Calls that entered through this node and have not ended.
    pub fn calls_in_flight(&self) -> usize {
        self.inner.dispatcher.in_flight.load(Ordering::Relaxed)
    }

    /// What this node has of the cluster's devices, and what it would give to whom so that all nodes that are up and stay
    /// have about as many.
    pub fn balance(&self) -> Balance {
        let registry = &self.inner.sessions.registry;
        let routes = registry.routes();
        let takers = routes.nodes().into_iter().filter(|node| node.up && !node.draining);
        let held: Vec<_> = takers.map(|node| (node.id, routes.sessions_of(node.id))).collect();
        Balance::of(registry.node(), &held)
    }

    /// Asks the surplus of [`Self::balance`] to move; devices that were asked before are not asked again.
    ///
    /// All are told at once when to go: one after the other, so many in a second, or as many as a node admits
    /// (`connects_per_second`) if that is less. They attach elsewhere before they leave, and may go where they like:
    /// whether all are even then is to be looked at again.
    pub fn rebalance(&self, per_second: u32) -> Departing {
        let gives = self.balance().gives;
        self.inner.sessions.give_away(&gives, per_second, "the node has more devices than others")
    }

    /// Asks devices to move, spread over half of `grace` at most, goes on serving calls until they have or until `grace`
    /// ends, then closes what is left.
    ///
    /// # Cancel safety
    /// Dropped early, devices have been told and no new ones are taken; calls go on.
    pub async fn drain(&self, grace: Duration) {
        let (started, sessions) = (Instant::now(), &self.inner.sessions);
        let asked = sessions.start_draining(grace / 2);
        let settled = asked.over + limits::DRAIN_SETTLE;
        while started.elapsed() < grace {
            let device_calls = sessions.shared.device_calls.load(Ordering::Relaxed);
            let idle = device_calls == 0 && self.calls_in_flight() == 0;
            if idle && (self.device_count() == 0 || started.elapsed() >= settled) {
                break;
            }
            sleep(DRAIN_CHECK.min(grace)).await;
        }
        self.inner.dispatcher.stopped.store(true, Ordering::Relaxed);
        sessions.cut_all();
    }
}
