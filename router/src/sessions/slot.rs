//! One device on a connection: its calls. All of it runs under the connection's lock. What the device says of them is
//! handled in `results`; what happens between two connections in `absence`.

mod absence;
mod results;

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use hashbrown::HashMap;
use rollcall_proto::device::{self, AttachResponse, attach_response::Frame};
use rollcall_registry::model::profile::Profile;
use tokio::time::Instant;

pub(crate) use self::{
    absence::{Absence, Successor},
    results::{Heard, Inbox, missing},
};
use super::{
    after::After,
    ending::{self, EndCause, GiveUp},
    host::Shared,
    incoming::Incoming,
    live::LiveDevice,
};
use crate::{
    core::{
        device::{Admitted, Cancelled, Device, Ended, Queueing, Taken},
        health::Health,
        in_flight::{Named, OnLoss, Tag},
        lanes::Lanes,
        once::CallName,
        token::CallToken,
    },
    delivery::{Delivery, ReplyTo},
    limits,
    outcome::{Failure, Outcome, Stage},
    payload::Assembly,
};

/// What waits for a connection's transport.
pub(crate) type Outbox = Lanes<AttachResponse, (u32, Tag), (u32, Tag)>;

/// A frame for one slot.
pub(crate) fn frame(slot: u32, frame: Frame) -> AttachResponse {
    AttachResponse { slot, frame: Some(frame) }
}

/// A device's open session.
pub(crate) struct OpenSlot {
    /// The session, as the dispatcher sees it.
    pub(crate) live: Arc<LiveDevice>,
    pub(super) shared: Arc<Shared>,
    pub(super) health: Health,
    /// Until when a retiring session may deliver results.
    pub(crate) retiring_until: Option<Instant>,
    /// Set while it has no connection.
    pub(crate) absence: Option<Absence>,
    /// The newer session of the same instance that took over.
    pub(crate) successor: Option<Successor>,
    pub(super) device: Device<ReplyTo, Box<Delivery>>,
    results: HashMap<Tag, (Box<device::Result>, Assembly)>,
    /// The result under tag 0 that is in chunks. Rare, and an idle device is to be small.
    replay: Option<Box<Replay>>,
}

// Each device has one: the allocator's next class is a third larger.
const _: () = assert!(size_of::<OpenSlot>() <= 384);

/// A result to a call of an earlier connection that is half received.
struct Replay {
    result: Box<device::Result>,
    assembly: Assembly,
}

impl OpenSlot {
    pub(crate) fn new(live: Arc<LiveDevice>, shared: &Arc<Shared>, now: Instant) -> Self {
        let mut device = Device::new(live.profile.capacity.max(1), shared.config.device_queue);
        if live.came_back {
            device.start_slowly(now);
        }
        let slot = Self {
            live,
            shared: Arc::clone(shared),
            health: Health::new(),
            retiring_until: None,
            absence: None,
            successor: None,
            device,
            results: HashMap::new(),
            replay: None,
        };
        slot.show(now);
        slot
    }

    /// Whether no call is left.
    pub(crate) fn is_idle(&self) -> bool {
        self.device.calls() == 0
    }

    /// Accepts a call or says why not.
    pub(crate) fn deliver(
        &mut self,
        delivery: impl FnOnce() -> Box<Delivery>,
        terms: Terms<'_>,
        reply: ReplyTo,
        outbox: &mut Outbox,
    ) -> Result<Tag, (ReplyTo, Failure)> {
        let named = Named { token: terms.token, deadline: terms.deadline, on_loss: terms.on_loss };
        let admitted = self.device.admit(reply, delivery, named, terms.queueing, terms.now);
        match admitted {
            Ok(Admitted::Ready(tag)) => {
                outbox.push_small((self.live.slot, tag));
                Ok(tag)
            }
            Ok(Admitted::Queued(tag)) => Ok(tag),
            Err((reply, refusal)) => {
                Err((reply, self.name(ending::not_admitted(refusal, self.device.backlog()))))
            }
        }
    }

    /// The frame of a call whose turn has come; `None` if nobody wants it any more.
    pub(crate) fn write(
        &mut self,
        tag: Tag,
        now: Instant,
        outbox: &mut Outbox,
        after: &mut After,
    ) -> Option<Frame> {
        match self.device.take(tag, now) {
            Taken::Gone => None,
            Taken::Late(reply) => {
                after.answer(reply, Err(self.name(Failure::deadline(Stage::Write, Outcome::NotExecuted))));
                self.promote(now, outbox, after);
                None
            }
            Taken::Call(delivery, remaining) => {
                let mut delivery = *delivery;
                let payload_bytes = delivery.payload.len();
                let payload = delivery.payload.take(limits::CHUNK_BYTES);
                if !delivery.payload.is_empty() {
                    outbox.push_bulk((self.live.slot, tag), delivery.payload);
                }
                Some(Frame::Call(Box::new(device::Call {
                    tag: tag.0,
                    token: delivery.token.to_bytes(),
                    epoch: self.live.epoch.0,
                    action: delivery.action,
                    request_id: delivery.request_id,
                    remaining: prost_types::Duration::try_from(remaining).ok(),
                    payload,
                    payload_bytes,
                    content_type: delivery.content_type,
                    metadata: delivery.metadata,
                    idempotent: delivery.idempotent,
                    group: delivery.group,
                })))
            }
        }
    }

    /// A caller gave up.
    pub(crate) fn cancel(
        &mut self,
        tag: Tag,
        why: GiveUp,
        now: Instant,
        outbox: &mut Outbox,
        after: &mut After,
    ) {
        match self.device.cancel(tag, now) {
            Cancelled::Gone => {}
            Cancelled::Unsent(reply, stage) => {
                after.answer(reply, Err(self.name(ending::given_up(why, stage, Outcome::NotExecuted))));
                self.promote(now, outbox, after);
            }
            Cancelled::Sent(reply) => {
                after.answer(reply, Err(self.name(ending::given_up(why, Stage::Device, Outcome::Unknown))));
                self.tell_cancel(tag, outbox);
                if why == GiveUp::Deadline {
                    self.timed_out(now, outbox, after);
                }
            }
        }
    }

    /// The node's clock moved on.
    pub(crate) fn tick(&mut self, now: Instant, outbox: &mut Outbox, after: &mut After) {
        let mut ended = Vec::new();
        self.device.expire(now, &mut ended);
        let timeouts = ended.iter().filter(|ended| ended.cancel.is_some()).count();
        self.report(ended, outbox, after, Self::too_late);
        (0..timeouts).for_each(|_| self.timed_out(now, outbox, after));
        self.watch_health(now, outbox, after);
        self.promote(now, outbox, after);
    }

    /// The device's Update is in force.
    pub(crate) fn update(
        &mut self,
        profile: &Profile,
        live: Arc<LiveDevice>,
        now: Instant,
        outbox: &mut Outbox,
        after: &mut After,
    ) {
        self.device.set_capacity(profile.capacity.max(1));
        self.live.count(0);
        self.live = live;
        self.promote(now, outbox, after);
    }

    /// The same stream goes on under a newer epoch. What waits was routed by the older one, and is told so.
    pub(crate) fn renew(
        &mut self,
        live: Arc<LiveDevice>,
        now: Instant,
        outbox: &mut Outbox,
        after: &mut After,
    ) {
        let mut ended = Vec::new();
        self.device.end_unsent(&mut ended);
        self.report(ended, outbox, after, |ended| ending::session_ended(EndCause::Superseded, ended.outcome));
        let profile = Arc::clone(&live.profile);
        self.update(&profile, live, now, outbox, after);
    }

    /// A newer session of the same instance took over: only results pass from now on.
    pub(crate) fn retire(&mut self, until: Instant, outbox: &mut Outbox, after: &mut After) {
        self.retiring_until = Some(until);
        let mut ended = Vec::new();
        self.device.retire(&mut ended);
        self.report(ended, outbox, after, |ended| ending::session_ended(EndCause::Superseded, ended.outcome));
    }

    /// The session is over: its calls end.
    pub(crate) fn end(
        &mut self,
        cause: EndCause,
        outbox: &mut Outbox,
        after: &mut After,
        incoming: &mut Incoming,
    ) {
        let tags: Vec<Tag> = self.results.keys().copied().collect();
        tags.into_iter().for_each(|tag| self.drop_result(tag, incoming));
        self.forget_health();
        self.drop_replay(incoming);
        let mut ended = Vec::new();
        self.device.end(&mut ended);
        self.report(ended, outbox, after, |ended| ending::session_ended(cause, ended.outcome));
    }

    pub(super) fn report(
        &mut self,
        ended: Vec<Ended<ReplyTo>>,
        outbox: &mut Outbox,
        after: &mut After,
        failure: impl Fn(&Ended<ReplyTo>) -> Failure,
    ) {
        for ended in ended {
            let failure = self.name(failure(&ended));
            if let Some(tag) = ended.cancel {
                self.tell_cancel(tag, outbox);
            }
            after.answer(ended.waiter, Err(failure));
        }
    }

    fn too_late(ended: &Ended<ReplyTo>) -> Failure {
        Failure::deadline(ended.stage, ended.outcome)
    }

    fn promote(&mut self, now: Instant, outbox: &mut Outbox, after: &mut After) {
        let mut late = Vec::new();
        while let Some(tag) = self.device.promote(now, &mut late) {
            outbox.push_small((self.live.slot, tag));
        }
        self.report(late, outbox, after, Self::too_late);
    }

    fn tell_cancel(&self, tag: Tag, outbox: &mut Outbox) {
        outbox.drop_bulk((self.live.slot, tag));
        if self.absence.is_some() {
            return;
        }
        let cancel = match self.device.carried(tag) {
            Some(token) => device::Cancel { tag: 0, token: token.to_bytes() },
            None => device::Cancel { tag: tag.0, token: Bytes::new() },
        };
        outbox.push_control(frame(self.live.slot, Frame::Cancel(cancel)));
    }

    fn drop_result(&mut self, tag: Tag, incoming: &mut Incoming) {
        if !self.results.is_empty() && self.results.remove(&tag).is_some() {
            incoming.end((self.live.slot, tag));
        }
    }

    fn name(&self, failure: Failure) -> Failure {
        failure.on_device(self.live.key.device.clone())
    }

    /// Shows how busy the device is to those who have no lock.
    pub(crate) fn publish(&self, shared: &Shared) {
        let calls =
            self.device.occupied().saturating_add(u32::try_from(self.device.queued()).unwrap_or(u32::MAX));
        let before = self.live.shown.swap_calls(calls);
        // Two's complement: adding the wrapped difference subtracts.
        shared.device_calls.fetch_add(u64::from(calls).wrapping_sub(u64::from(before)), Ordering::Relaxed);
        self.live.count(calls);
    }
}

/// On what terms a call is delivered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    /// Its name in the whole cluster.
    pub(crate) token: CallToken,
    /// What becomes of it when the device's connection is lost while the device has it.
    pub(crate) on_loss: OnLoss,
    /// When its caller gives up.
    pub(crate) deadline: Instant,
    /// Whether it may wait for room.
    pub(crate) queueing: Queueing,
    /// Of an idempotent call: the name under which it runs once at a time.
    pub(crate) name: Option<&'a CallName>,
    /// Now.
    pub(crate) now: Instant,
}
