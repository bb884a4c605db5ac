//! `invoke`: what is checked first, how long to wait for a device, and the account at the end.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use compact_str::CompactString;
use rollcall_registry::{
    Registrar,
    model::ids::{DEFAULT_NAMESPACE, LogIndex},
};
use tokio::time::Instant;

use super::{
    flight::{Flight, advised},
    trip::Trip,
};
use crate::{
    call::{Call, Reply},
    core::{placement::Draws, retry::Budget},
    limits,
    links::peers::Peers,
    outcome::{Failure, Outcome, Reason, Stage},
    sessions::{device_sessions::DeviceSessions, host::Shared},
};

/// Calls from their arrival at this node to their end.
pub(crate) struct Dispatcher<R> {
    pub(crate) registry: Arc<R>,
    pub(crate) sessions: Arc<DeviceSessions<R>>,
    pub(crate) peers: Arc<Peers<R>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) stopped: AtomicBool,
    pub(super) next_call: AtomicU64,
    pub(super) retries: Budget,
    /// Of further nodes or devices for calls of groups that surely were not executed.
    detours: Budget,
    pub(super) broadcasts: Arc<AtomicUsize>,
    pub(super) draws: Draws,
    waiters: AtomicUsize,
}

impl<R: Registrar> Dispatcher<R> {
    pub(crate) fn new(sessions: Arc<DeviceSessions<R>>, peers: Arc<Peers<R>>) -> Self {
        Self {
            registry: Arc::clone(&sessions.registry),
            shared: Arc::clone(&sessions.shared),
            sessions,
            peers,
            in_flight: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            next_call: AtomicU64::new(rand::random()),
            retries: Budget::new(limits::RETRY_BUDGET),
            detours: Budget::new(limits::DETOUR_BUDGET),
            broadcasts: Arc::default(),
            draws: Draws::new(rand::random()),
            waiters: AtomicUsize::new(0),
        }
    }

    /// See [`crate::Router::invoke`]. The call was routed so many times before.
    pub(crate) async fn invoke(&self, mut call: Box<Call>, attempts: u32) -> Result<Reply, Failure> {
        if call.namespace.is_empty() {
            call.namespace = CompactString::const_new(DEFAULT_NAMESPACE);
        }
        let config = &self.shared.config;
        let flight = Flight::start(&self.in_flight, config.calls_in_flight, &self.shared)
            .map_err(|failure| failure.on_node(config.node_name.as_str()))?;
        let mut flight = flight.after(attempts);
        let result = self.check_and_route(&call, &mut flight.trip).await;
        let result = result.map_err(|failure| advised(failure).on_node(config.node_name.as_str()));
        flight.ended(&result);
        result
    }

    async fn check_and_route(&self, call: &Call, trip: &mut Trip) -> Result<Reply, Failure> {
        self.may_take(&call.payload)?;
        self.reach(call.min_index, call.deadline).await?;
        if call.deadline <= Instant::now() {
            return Err(too_late_to_route());
        }
        if call.connect_wait.is_zero() {
            self.route(call, trip).await
        } else {
            self.route_when_connected(call, trip).await
        }
    }

    /// How many nodes or devices a group's call may try: one while too many calls take detours, which then may wait
    /// there.
    pub(super) fn attempts(&self) -> u32 {
        self.detours.pay_in();
        if self.detours.has_one() { limits::PLACEMENT_ATTEMPTS } else { 1 }
    }

    /// A group's call was refused, and goes elsewhere.
    pub(super) fn takes_detour(&self) {
        // What has begun with an empty budget left goes on.
        let _ = self.detours.take();
    }

    /// Whether this node takes a call with this payload.
    ///
    /// # Errors
    /// It shuts down, or the payload is too large.
    pub(super) fn may_take(&self, payload: &[u8]) -> Result<(), Failure> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(Failure::not_executed(Reason::ShuttingDown, "the node shuts down"));
        }
        let limit = self.shared.config.max_payload_bytes;
        if payload.len() > limit {
            let message = format!("the payload has {} bytes, the limit is {limit}", payload.len());
            return Err(Failure::not_executed(Reason::PayloadTooLarge, message));
        }
        Ok(())
    }

    /// Waits until this replica has reached an index.
    ///
    /// # Errors
    /// It does not by the deadline.
    pub(super) async fn reach(&self, index: LogIndex, deadline: Instant) -> Result<(), Failure> {
        if self.registry.routes().applied_index() < index {
            let patience = deadline.saturating_duration_since(Instant::now());
            let waited = self.registry.wait_applied(index, patience).await;
            waited.map_err(|_behind| too_late_to_route())?;
        }
        Ok(())
    }

    pub(super) async fn route_once(&self, call: &Call, trip: &mut Trip) -> Result<Reply, Failure> {
        let routed = match (&call.device_id, &call.affinity_key) {
            (Some(device), _) => self.to_device(call, device, trip).await,
            (None, Some(key)) => self.to_its_own(call, key, trip).await,
            (None, None) => self.to_any(call, trip).await,
        };
        routed.map_err(|failure| self.sum_up_site(call, failure))
    }

    /// Nobody being there has a reason if the site was lost.
    pub(super) fn sum_up_site(&self, call: &Call, failure: Failure) -> Failure {
        if nobody_there(&failure) { self.sessions.sum_up_site(call, failure) } else { failure }
    }

    /// Routes as soon as there is a device, within `connect_wait` and the deadline.
    async fn route_when_connected(&self, call: &Call, trip: &mut Trip) -> Result<Reply, Failure> {
        let until = call.deadline.min(call.arrived + call.connect_wait);
        let mut arrivals = self.sessions.arrivals.subscribe();
        loop {
            arrivals.mark_unchanged();
            let failure = match self.route(call, trip).await {
                Err(failure) if nobody_there(&failure) => failure,
                routed => return routed,
            };
            let Some(_place) = Waiting::start(&self.waiters) else {
                return Err(Failure::not_executed(
                    Reason::Overloaded,
                    "too many calls wait for devices to connect",
                ));
            };
            // A device that comes back to its session elsewhere changes nothing that could be heard of here.
            let look = until.min(Instant::now() + limits::AWAY_RECHECK);
            let heard = tokio::time::timeout_at(look, arrivals.changed()).await;
            if heard.is_err() && Instant::now() >= until {
                return Err(if until == call.deadline { too_late_to_route() } else { failure });
            }
            // Devices come by the thousand: look again once for many of them.
            tokio::time::sleep_until(until.min(Instant::now() + limits::CONNECT_RECHECK)).await;
        }
    }
}

fn nobody_there(failure: &Failure) -> bool {
    failure.outcome == Outcome::NotExecuted
        && matches!(failure.reason, Reason::NoDevice | Reason::NotConnected)
}

fn too_late_to_route() -> Failure {
    Failure::deadline(Stage::Queue, Outcome::NotExecuted)
}

/// One of the calls that wait for a device to connect.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn start(count: &'a AtomicUsize) -> Option<Self> {
        let waiting = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < limits::CONNECT_WAITERS).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
