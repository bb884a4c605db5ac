//! One device on a connection: its calls, and the parts of its results. All of it runs under the connection's lock.

use std::sync::{Arc, atomic::Ordering};

use hashbrown::HashMap;
use rollcall_proto::device::{self, AttachResponse, attach_response::Frame};
use rollcall_registry::model::profile::Profile;
use tokio::time::Instant;

use super::{
    after::After,
    ending::{self, EndCause, GiveUp},
    host::Shared,
    live::LiveDevice,
    slot_health::is_probe,
};
use crate::{
    core::{
        device::{Admitted, Cancelled, Device, Ended, Queueing, Taken},
        health::{Health, ProbeEnd},
        in_flight::Tag,
        lanes::Lanes,
        once::CallName,
    },
    delivery::{Answer, Delivery, DeviceReply, ReplyTo},
    limits,
    outcome::{Failure, Outcome, Reason, Stage},
    payload::{Assembled, Assembly, Payload},
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
    pub(super) device: Device<ReplyTo, Box<Delivery>>,
    results: HashMap<Tag, (Box<device::Result>, Assembly)>,
}

impl OpenSlot {
    pub(crate) fn new(live: Arc<LiveDevice>, shared: &Arc<Shared>, now: Instant) -> Self {
        let mut device = Device::new(live.profile.capacity.max(1), shared.config.device_queue);
        if live.came_back {
            device.start_slowly(now);
        }
        let (shared, health) = (Arc::clone(shared), Health::new());
        let slot = Self { live, shared, health, retiring_until: None, device, results: HashMap::new() };
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
        let admitted = self.device.admit(reply, delivery, terms.deadline, terms.queueing, terms.now);
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
                    token: delivery.token,
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

    /// The device answered. Returns whether somebody waited for it.
    pub(crate) fn result(&mut self, mut result: Box<device::Result>, inbox: Inbox<'_>) -> Heard {
        let tag = Tag(result.tag);
        if is_probe(tag) {
            let end = if result.error.is_some() { ProbeEnd::Failed } else { ProbeEnd::Alive };
            return self.probed(end, inbox.now, inbox.outbox, inbox.after);
        }
        if !self.device.expects(tag) || self.results.contains_key(&tag) {
            return Heard::Late;
        }
        self.health.answered();
        if result.payload_bytes.max(result.payload.len() as u64) > inbox.max_payload_bytes {
            let failure = Failure::new(
                Reason::PayloadTooLarge,
                Outcome::Executed,
                "the reply is larger than the limit",
            );
            return self.finish(tag, inbox, |_| Err(failure));
        }
        if result.payload_bytes <= result.payload.len() as u64 {
            return self.answer(tag, result, inbox);
        }
        if *inbox.assembling + result.payload_bytes > limits::ASSEMBLY_BYTES {
            let failure =
                Failure::new(Reason::Overloaded, Outcome::Executed, "too many large replies arrive at once");
            return self.finish(tag, inbox, |_| Err(failure));
        }
        *inbox.assembling += result.payload_bytes;
        let assembly = Assembly::new(std::mem::take(&mut result.payload), result.payload_bytes);
        self.results.insert(tag, (result, assembly));
        Heard::Awaited
    }

    /// A further part of a result.
    pub(crate) fn chunk(&mut self, chunk: device::Chunk, inbox: Inbox<'_>) -> Heard {
        let tag = Tag(chunk.tag);
        let Some((_, assembly)) = self.results.get_mut(&tag) else { return Heard::Late };
        match assembly.push(chunk.data, chunk.last) {
            Assembled::Partly => Heard::Awaited,
            Assembled::Mismatch => Heard::Nonsense("a result's chunks do not add up to its payload_bytes"),
            Assembled::Whole => {
                let Some((result, assembly)) = self.results.remove(&tag) else { return Heard::Late };
                *inbox.assembling = inbox.assembling.saturating_sub(assembly.expected());
                self.answer_with(tag, result, assembly.into_payload(), inbox)
            }
        }
    }

    fn answer(&mut self, tag: Tag, mut result: Box<device::Result>, inbox: Inbox<'_>) -> Heard {
        let payload = std::mem::take(&mut result.payload).into();
        self.answer_with(tag, result, payload, inbox)
    }

    fn answer_with(
        &mut self,
        tag: Tag,
        result: Box<device::Result>,
        payload: Payload,
        inbox: Inbox<'_>,
    ) -> Heard {
        if let Some(error) = result.error {
            let failure = Failure::new(Reason::DeviceError, Outcome::Executed, shortened(error.message));
            return self.finish(tag, inbox, |_| Err(failure));
        }
        let (device_id, epoch) = (self.live.key.device.clone(), self.live.epoch);
        self.finish(tag, inbox, |spent| {
            Ok(DeviceReply {
                payload,
                content_type: result.content_type,
                metadata: result.metadata,
                device_id,
                epoch,
                spent,
            })
        })
    }

    /// The handler of a cancelled call has stopped.
    pub(crate) fn cancelled(&mut self, cancelled: device::Cancelled, inbox: Inbox<'_>) -> Heard {
        if is_probe(Tag(cancelled.tag)) {
            return self.probed(ProbeEnd::Failed, inbox.now, inbox.outbox, inbox.after);
        }
        let outcome = if cancelled.executed { Outcome::Unknown } else { Outcome::NotExecuted };
        let failure = Failure::new(Reason::Cancelled, outcome, "the agent cancelled the call");
        self.finish(Tag(cancelled.tag), inbox, |_| Err(failure))
    }

    /// The agent did not start a call.
    pub(crate) fn refused(&mut self, refused: device::Refused, inbox: Inbox<'_>) -> Heard {
        if is_probe(Tag(refused.tag)) {
            let end = Self::refused_probe(refused.reason());
            return self.probed(end, inbox.now, inbox.outbox, inbox.after);
        }
        let failure = ending::refused(refused.reason(), shortened(refused.message));
        self.finish(Tag(refused.tag), inbox, |_| Err(failure))
    }

    fn finish(
        &mut self,
        tag: Tag,
        inbox: Inbox<'_>,
        answer: impl FnOnce(crate::core::device::Spent) -> Answer,
    ) -> Heard {
        // Whatever of the call's payload is still unsent is of no use any more.
        inbox.outbox.drop_bulk((self.live.slot, tag));
        self.drop_result(tag, inbox.assembling);
        let finished = self.device.finish(tag, inbox.now);
        let heard = if finished.is_some() { Heard::Awaited } else { Heard::Late };
        if let Some((reply, spent)) = finished {
            inbox.after.answer(reply, answer(spent).map_err(|failure| self.name(failure)));
        }
        self.promote(inbox.now, inbox.outbox, inbox.after);
        heard
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
        assembling: &mut u64,
    ) {
        let tags: Vec<Tag> = self.results.keys().copied().collect();
        tags.into_iter().for_each(|tag| self.drop_result(tag, assembling));
        self.forget_health();
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
        outbox.push_control(frame(
            self.live.slot,
            Frame::Cancel(device::Cancel { tag: tag.0, ..Default::default() }),
        ));
    }

    fn drop_result(&mut self, tag: Tag, assembling: &mut u64) {
        if !self.results.is_empty()
            && let Some((_, assembly)) = self.results.remove(&tag)
        {
            *assembling = assembling.saturating_sub(assembly.expected());
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
    /// When its caller gives up.
    pub(crate) deadline: Instant,
    /// Whether it may wait for room.
    pub(crate) queueing: Queueing,
    /// Of an idempotent call: the name under which it runs once at a time.
    pub(crate) name: Option<&'a CallName>,
    /// Now.
    pub(crate) now: Instant,
}

/// What handling a frame of the device touches beside the slot.
pub(crate) struct Inbox<'a> {
    pub(crate) now: Instant,
    pub(crate) max_payload_bytes: u64,
    pub(crate) assembling: &'a mut u64,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) after: &'a mut After,
}

/// What a frame of the device was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Somebody waited for it.
    Awaited,
    /// Nobody waited any more.
    Late,
    /// It breaks the protocol.
    Nonsense(&'static str),
}

fn shortened(mut message: String) -> String {
    let mut end = message.len().min(limits::ERROR_MESSAGE_BYTES);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    message
}
