//! One attempt of a call: to a device of this node or over a link, then its answer or its deadline.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use compact_str::CompactString;
use rollcall_proto::peer::ForwardCall;
use rollcall_registry::{
    Registrar,
    model::ids::{DeviceKey, Epoch, InstanceId, NodeId},
    routes::view::SessionView,
};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{dispatcher::Dispatcher, trip::Trip};
use crate::{
    call::{Call, Reply, Timings},
    core::{device::Queueing, in_flight::OnLoss, once::CallName, token::CallToken},
    delivery::{Answer, Delivery, DeviceReply, ReplyTo},
    limits,
    links::{
        outbound::{LinkTicket, unreachable},
        peer::Peer,
        pending::{Sent, Taker},
        wire,
    },
    metrics::Path,
    outcome::{Failure, Outcome, Reason, Stage},
    sessions::{ending::GiveUp, slot::Terms, ticket::Ticket},
};

/// Where an attempt goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aim<'a> {
    /// The node that holds the device.
    pub(crate) node: NodeId,
    /// The device, the epoch of its session and the agent process. `None`: the holder picks.
    pub(crate) device: Option<(&'a str, Epoch, InstanceId)>,
    /// Whether the call may wait there for room.
    pub(crate) queueing: Queueing,
}

impl<'a> Aim<'a> {
    /// At a device's session.
    pub(super) fn at(device: &'a str, session: SessionView, queueing: Queueing) -> Self {
        Self { node: session.node, device: Some((device, session.epoch, session.instance)), queueing }
    }
}

impl<R: Registrar> Dispatcher<R> {
    /// One attempt.
    pub(super) async fn send(&self, call: &Call, aim: Aim<'_>, trip: &mut Trip) -> Result<Reply, Failure> {
        if aim.node == self.registry.node() {
            trip.path = Path::Local;
            self.send_here(call, aim, trip).await
        } else {
            trip.path = Path::Peer;
            let peer = self.peers.get(aim.node).ok_or_else(unreachable)?;
            let reply = self.send_there(call, aim, &peer, trip).await;
            reply.map_err(|failure| failure.on_node(peer.name.clone()))
        }
    }

    async fn send_here(&self, call: &Call, aim: Aim<'_>, trip: &Trip) -> Result<Reply, Failure> {
        let (sender, answer) = oneshot::channel();
        let ticket = self.hand_here(call, aim, Instant::now(), ReplyTo::Caller(sender))?;
        let reply = answer_here(ticket, answer, call.deadline).await?;
        let node = CompactString::from(self.shared.config.node_name.as_str());
        Ok(finish(call, reply, node, trip, None))
    }

    /// Gives a call to a device of this node.
    pub(super) fn hand_here(
        &self,
        call: &Call,
        aim: Aim<'_>,
        now: Instant,
        reply: ReplyTo,
    ) -> Result<Ticket, Failure> {
        let name = call
            .idempotent
            .then(|| CallName::new(&call.request_id, &call.action, std::iter::once(&call.payload[..])));
        let terms = Terms {
            token: self.token(),
            on_loss: on_loss(call, aim),
            deadline: call.deadline,
            queueing: aim.queueing,
            name: name.as_ref(),
            now,
        };
        let accepted = match aim.device {
            Some((_, epoch, _)) => {
                self.sessions.to_session(epoch, || delivery(call, terms.token), terms, reply)
            }
            None => self.pick_here(call, terms, reply),
        };
        accepted.map_err(|(_, failure)| failure)
    }

    fn pick_here(&self, call: &Call, terms: Terms<'_>, reply: ReplyTo) -> Result<Ticket, (ReplyTo, Failure)> {
        let labels: Vec<(&str, &str)> = call.labels().collect();
        self.sessions.to_group(call.query(&labels), || delivery(call, terms.token), terms, reply)
    }

    async fn send_there(
        &self,
        call: &Call,
        aim: Aim<'_>,
        peer: &Arc<Peer>,
        trip: &Trip,
    ) -> Result<Reply, Failure> {
        let started = Instant::now();
        let (sender, answer) = oneshot::channel();
        let ticket = self.hand_there(call, aim, peer, trip, started, ReplyTo::Caller(sender))?;
        let reply = answer_there(ticket, answer, call.deadline).await?;
        Ok(finish(call, reply, peer.name.clone(), trip, Some(started.elapsed())))
    }

    /// Gives a call to a link.
    pub(super) fn hand_there(
        &self,
        call: &Call,
        aim: Aim<'_>,
        peer: &Peer,
        trip: &Trip,
        now: Instant,
        reply: ReplyTo,
    ) -> Result<LinkTicket, Failure> {
        let link = peer.link().ok_or_else(unreachable)?;
        let token = self.token();
        let sent = Sent {
            draw: token.call,
            incarnation: token.incarnation,
            taker: taker(call, aim),
            // One that may run twice is asked for again at once.
            on_loss: if call.idempotent { OnLoss::End } else { OnLoss::Wait },
            hint: aim.device.is_none().then(|| peer.hints.sent(&call.namespace, &call.group)),
        };
        link.send(forward(call, aim, trip, token, now), call.payload.clone().into(), reply, sent, now)
    }

    fn token(&self) -> CallToken {
        CallToken {
            origin: self.registry.node(),
            incarnation: self.registry.incarnation(),
            // Odd and large: a walk through all 64-bit numbers that looks random, and whose upper halves do not come
            // again for a thousand million steps either: 2^64 divided by the golden ratio.
            call: self.next_call.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed),
        }
    }
}

/// What becomes of a call on a device of this node, should the device's connection be lost.
fn on_loss(call: &Call, aim: Aim<'_>) -> OnLoss {
    if call.idempotent && aim.device.is_none() { OnLoss::End } else { OnLoss::Wait }
}

/// Which device is to have the call, as far as known.
fn taker(call: &Call, aim: Aim<'_>) -> Taker {
    let (device, session) = match aim.device {
        Some((device, epoch, instance)) => (device, Some((epoch, instance))),
        None => ("", None),
    };
    Taker { device: DeviceKey { namespace: call.namespace.clone(), device: device.into() }, session }
}

fn delivery(call: &Call, token: CallToken) -> Box<Delivery> {
    Box::new(Delivery {
        token,
        group: call.group.to_string(),
        action: call.action.to_string(),
        request_id: call.request_id.to_string(),
        payload: call.payload.clone().into(),
        content_type: call.content_type.to_string(),
        metadata: call.metadata.clone(),
        idempotent: call.idempotent,
    })
}

fn forward(call: &Call, aim: Aim<'_>, trip: &Trip, token: CallToken, now: Instant) -> Box<ForwardCall> {
    let (device_id, epoch) = aim.device.map_or(("", Epoch(0)), |(device, epoch, _)| (device, epoch));
    Box::new(ForwardCall {
        token: Some(wire::token_to_proto(token)),
        namespace: call.namespace.to_string(),
        group: call.group.to_string(),
        action: call.action.to_string(),
        device_id: device_id.to_owned(),
        epoch: epoch.0,
        route_index: trip.index.0,
        remaining: wire::to_proto(call.deadline.saturating_duration_since(now)),
        payload: Bytes::new(),
        payload_bytes: 0,
        content_type: call.content_type.to_string(),
        metadata: call.metadata.clone(),
        labels: call.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        request_id: call.request_id.to_string(),
        idempotent: call.idempotent,
        attempt: trip.attempts,
        may_queue: aim.queueing == Queueing::Allowed,
    })
}

/// The reply to a call, with the account of its time; `there`: to a peer and back.
pub(super) fn finish(
    call: &Call,
    reply: DeviceReply,
    node: CompactString,
    trip: &Trip,
    there: Option<Duration>,
) -> Reply {
    let spent = reply.spent;
    let at_holder = spent.queue + spent.write + spent.device;
    let timings = Timings {
        queue: Some(spent.queue),
        forward: there.map(|there| there.saturating_sub(at_holder)),
        write: Some(spent.write),
        device: Some(spent.device),
        total: Some(call.arrived.elapsed()),
    };
    let node = reply.through.unwrap_or(node);
    Reply {
        payload: reply.payload.into_bytes(),
        content_type: reply.content_type,
        metadata: reply.metadata,
        device_id: reply.device_id,
        epoch: reply.epoch,
        node,
        attempts: trip.attempts,
        index: trip.index,
        timings,
    }
}

/// Cancels a call that nobody waits for any more. Defused by taking what is inside.
struct OnDrop<T: Fn(GiveUp)>(Option<T>);

impl<T: Fn(GiveUp)> Drop for OnDrop<T> {
    fn drop(&mut self) {
        if let Some(cancel) = &self.0 {
            cancel(GiveUp::Cancelled);
        }
    }
}

async fn answer_here(ticket: Ticket, mut answer: oneshot::Receiver<Answer>, deadline: Instant) -> Answer {
    let mut guard = OnDrop(Some(|why| ticket.cancel(why)));
    let answered = timeout_at(deadline, &mut answer).await;
    guard.0 = None;
    match answered {
        Ok(Ok(answer)) => answer,
        Ok(Err(_lost)) => Err(lost()),
        Err(_elapsed) => {
            ticket.cancel(GiveUp::Deadline);
            answer.try_recv().unwrap_or_else(|_| Err(Failure::deadline(Stage::Device, Outcome::Unknown)))
        }
    }
}

async fn answer_there(
    ticket: LinkTicket,
    mut answer: oneshot::Receiver<Answer>,
    deadline: Instant,
) -> Answer {
    let mut guard = OnDrop(Some(|why| ticket.cancel(why)));
    let mut answered = timeout_at(deadline, &mut answer).await;
    if answered.is_err() {
        ticket.cancel(GiveUp::Deadline);
        answered = timeout_at(deadline + limits::DEADLINE_WORD, &mut answer).await;
        ticket.forget();
    }
    guard.0 = None;
    match answered {
        Ok(Ok(answer)) => answer,
        Ok(Err(_lost)) => Err(lost()),
        Err(_elapsed) => Err(Failure::deadline(Stage::Forward, Outcome::Unknown)),
    }
}

fn lost() -> Failure {
    Failure::new(Reason::Internal, Outcome::Unknown, "the call's answer was lost")
}
