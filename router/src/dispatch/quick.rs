//! The first route of an ordinary call, without waiting for its answer: handed to a device or a link at once, or not.

use std::sync::{Arc, atomic::Ordering};

use compact_str::CompactString;
use rollcall_registry::{
    Registrar,
    model::ids::{DEFAULT_NAMESPACE, Epoch},
};
use tokio::time::Instant;

use super::{
    dispatcher::Dispatcher,
    flight,
    group::has_moved,
    inbox::Inbox,
    named::{is_stale, named},
    send::{Aim, finish},
    trip::Trip,
};
use crate::{
    call::{Call, Reply},
    core::device::Queueing,
    delivery::{Answer, ReplyTo},
    links::{
        outbound::{LinkTicket, unreachable},
        peer::Peer,
    },
    metrics::Path,
    outcome::{Failure, Outcome, Reason, Stage},
    sessions::{ending::GiveUp, ticket::Ticket},
};

/// What became of a call.
pub(super) enum Quick {
    /// Its answer will come to the inbox.
    Departed(Departed),
    /// It has failed.
    Ended(Failure),
    /// It is to go the long way, routed so many times already.
    Detour(Box<Call>, u32),
}

/// A call that a device or a link has accepted. Counted as in flight.
pub(super) struct Departed {
    call: Box<Call>,
    trip: Trip,
    started: Instant,
    /// Whether other nodes are left that could be tried.
    others: bool,
    carrier: Carrier,
}

enum Carrier {
    Here(Ticket),
    There(Arc<Peer>, LinkTicket),
}

impl Departed {
    /// The caller gave up. On [`GiveUp::Deadline`] a last word on it may still come.
    pub(super) fn cancel(&self, why: GiveUp) {
        match &self.carrier {
            Carrier::Here(ticket) => ticket.cancel(why),
            Carrier::There(_, ticket) => ticket.cancel(why),
        }
    }

    /// No answer is wanted any more.
    pub(super) fn forget(&self) {
        if let Carrier::There(_, ticket) = &self.carrier {
            ticket.forget();
        }
    }

    /// What is known of it when no last word has come.
    pub(super) fn too_late(&self) -> Failure {
        let stage = match &self.carrier {
            Carrier::Here(_) => Stage::Device,
            Carrier::There(..) => Stage::Forward,
        };
        Failure::deadline(stage, Outcome::Unknown)
    }
}

impl<R: Registrar> Dispatcher<R> {
    /// Routes an ordinary call once.
    pub(super) fn depart(&self, mut call: Box<Call>, inbox: &Arc<Inbox>, id: u64) -> Quick {
        if call.namespace.is_empty() {
            call.namespace = CompactString::const_new(DEFAULT_NAMESPACE);
        }
        let config = &self.shared.config;
        let started = Instant::now();
        if !self.is_ordinary(&call, started) {
            return Quick::Detour(call, 0);
        }
        if let Err(failure) = flight::enter(&self.in_flight, config.calls_in_flight, &self.shared) {
            return Quick::Ended(failure.on_node(config.node_name.as_str()));
        }
        let (mut trip, mut others) = (Trip::new(), false);
        let reply = ReplyTo::Sink(Arc::clone(inbox) as _, id);
        match self.hand_over(&call, &mut trip, &mut others, started, reply) {
            Ok(carrier) => Quick::Departed(Departed { call, trip, started, others, carrier }),
            Err(failure) => match self.conclude(&call, trip, others, failure) {
                Some(failure) => Quick::Ended(failure),
                None => Quick::Detour(call, trip.attempts),
            },
        }
    }

    /// Whether a call needs nothing that takes time before its first route, nor what follows from a failure.
    fn is_ordinary(&self, call: &Call, now: Instant) -> bool {
        !call.idempotent
            && call.affinity_key.is_none()
            && call.connect_wait.is_zero()
            && call.deadline > now
            && call.payload.len() <= self.shared.config.max_payload_bytes
            && !self.stopped.load(Ordering::Relaxed)
            && call.min_index <= self.registry.routes().applied_index()
    }

    fn hand_over(
        &self,
        call: &Call,
        trip: &mut Trip,
        others: &mut bool,
        now: Instant,
        reply: ReplyTo,
    ) -> Result<Carrier, Failure> {
        let aim = match &call.device_id {
            Some(device) => Aim::at(device, self.session_of(call, device)?, Queueing::Allowed),
            None => {
                let labels: Vec<(&str, &str)> = call.labels().collect();
                let choice = self.choose(call.query(&labels), &[])?;
                *others = !choice.last;
                let queueing = if choice.last { Queueing::Allowed } else { Queueing::Forbidden };
                Aim { node: choice.node, device: None, queueing }
            }
        };
        trip.routed(self.registry.routes().applied_index());
        trip.epoch = aim.device.map_or(Epoch(0), |(_, epoch, _)| epoch);
        if aim.node == self.registry.node() {
            trip.path = Path::Local;
            return self.hand_here(call, aim, now, reply).map(Carrier::Here);
        }
        trip.path = Path::Peer;
        let peer = self.peers.get(aim.node).ok_or_else(unreachable)?;
        let handed = self.hand_there(call, aim, &peer, trip, now, reply);
        let ticket = handed.map_err(|failure| failure.on_node(peer.name.clone()))?;
        Ok(Carrier::There(peer, ticket))
    }

    /// The answer to a call has come: its end, or the call if it is to go the long way, routed so many times already.
    pub(super) fn arrive(
        &self,
        departed: Departed,
        answer: Answer,
    ) -> Result<Result<Reply, Failure>, (Box<Call>, u32)> {
        let Departed { call, trip, started, others, carrier } = departed;
        let reply = match answer {
            Ok(reply) => reply,
            Err(failure) => {
                let failure = match &carrier {
                    Carrier::Here(_) => failure,
                    Carrier::There(peer, _) => failure.on_node(peer.name.clone()),
                };
                let failure = self.conclude(&call, trip, others, failure);
                return failure.map(Err).ok_or((call, trip.attempts));
            }
        };
        flight::leave(&self.in_flight, &self.shared);
        self.shared.metrics.answered(trip.path);
        let (node, there) = match &carrier {
            Carrier::Here(_) => (CompactString::from(self.shared.config.node_name.as_str()), None),
            Carrier::There(peer, _) => (peer.name.clone(), Some(started.elapsed())),
        };
        Ok(Ok(finish(&call, reply, node, &trip, there)))
    }

    /// A call failed that was in flight: how it ends, or nothing if it may be tried elsewhere.
    fn conclude(&self, call: &Call, trip: Trip, others: bool, failure: Failure) -> Option<Failure> {
        flight::leave(&self.in_flight, &self.shared);
        let (failure, again) = match &call.device_id {
            Some(device) => {
                let again = is_stale(&failure);
                (named(failure, device), again)
            }
            None => {
                let again = others && failure.retryable() || has_moved(&failure);
                (failure, again)
            }
        };
        if again {
            return None;
        }
        let failure = flight::advised(self.sum_up_site(call, failure));
        let failure = failure.on_node(self.shared.config.node_name.as_str());
        self.shared.metrics.failed(trip.path, &failure);
        Some(failure)
    }

    /// A call was cancelled that was in flight.
    pub(super) fn cancelled(&self, departed: &Departed) {
        flight::leave(&self.in_flight, &self.shared);
        let failure = Failure::new(Reason::Cancelled, Outcome::Unknown, "");
        self.shared.metrics.failed(departed.trip.path, &failure);
    }
}
