//! One device connection: the conversation, its slots and its outbox. No lock, clock or I/O in here.

mod absence;
mod ending;
mod renewal;
mod writing;

use std::{sync::Arc, time::Duration};

use hashbrown::HashMap;
use rollcall_proto::device::{
    self, AttachRequest, CloseCode, Welcome, attach_request, attach_response::Frame,
};
use rollcall_registry::model::ids::{Epoch, NodeId};
use tokio::time::Instant;

use self::absence::Moved;
pub(crate) use self::absence::Whereabouts;
use super::{
    after::After,
    ending::{EndCause, away},
    host::{Request, Shared},
    incoming::Incoming,
    live::LiveDevice,
    profile::{check_attach, check_profile},
    slot::{Heard, Inbox, OpenSlot, Outbox, Terms, frame, missing},
};
use crate::{
    core::{in_flight::Tag, lanes::Flow},
    delivery::{Delivery, ReplyTo},
    limits,
    outcome::{Failure, Reason},
};

/// The protocol version that this node speaks.
pub(crate) const PROTOCOL: u32 = 1;

/// Whether a visit of the sweep ends what has been silent for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judging {
    /// It does.
    Now,
    /// The node itself has slept: what came meanwhile is still to be read.
    Later,
}

enum Slot {
    Opening(u64),
    Open(Box<OpenSlot>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    AwaitingHello,
    Talking,
    /// What is in the outbox still goes out; nothing is heard any more.
    Ending,
}

/// A device connection.
pub(crate) struct State {
    shared: Arc<Shared>,
    phase: Phase,
    slots: HashMap<u32, Slot>,
    /// Sessions that this connection carried and that wait for their devices' return.
    absent: HashMap<Epoch, Box<OpenSlot>>,
    /// Sessions that go on elsewhere, for callers who give up.
    moved: Vec<Moved>,
    outbox: Outbox,
    incoming: Incoming,
    openings: u64,
    pings: u64,
    last_ping: Instant,
    last_heard: Instant,
    /// The agent was asked to go elsewhere.
    sent_away: bool,
    /// Since when something waits that the transport does not take.
    stuck_since: Option<Instant>,
    waker: Option<std::task::Waker>,
}

impl State {
    /// A connection that has just been opened. `quiet`: how long its agent is taken to have been without a ping, so that those who
    /// come together are not pinged together ever after.
    pub(crate) fn new(shared: Arc<Shared>, now: Instant, quiet: Duration) -> Self {
        Self {
            shared,
            phase: Phase::AwaitingHello,
            slots: HashMap::new(),
            absent: HashMap::new(),
            moved: Vec::new(),
            outbox: Outbox::new(limits::CHUNK_BYTES),
            incoming: Incoming::new(),
            openings: 0,
            pings: 0,
            last_ping: now.checked_sub(quiet).unwrap_or(now),
            last_heard: now,
            sent_away: false,
            stuck_since: None,
            waker: None,
        }
    }

    /// Whether the conversation is over.
    pub(crate) fn is_ending(&self) -> bool {
        self.phase == Phase::Ending
    }

    /// How long nothing was heard.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_heard)
    }

    /// Whether the agent was asked to go elsewhere.
    pub(crate) fn was_sent_away(&self) -> bool {
        self.sent_away
    }

    /// A frame from the agent.
    pub(crate) fn receive(
        &mut self,
        request: AttachRequest,
        welcome: Option<Welcome>,
        now: Instant,
        after: &mut After,
    ) {
        use attach_request::Frame as In;
        self.last_heard = now;
        let slot = request.slot;
        let Some(frame) = request.frame else {
            return self.cut_for_protocol(now, "a frame of no known kind", after);
        };
        match (self.phase, frame) {
            (Phase::Ending, _) => {}
            (Phase::AwaitingHello, In::Hello(hello)) => {
                self.hello(&hello, welcome.unwrap_or_default(), now, after)
            }
            (Phase::AwaitingHello, _) => self.cut_for_protocol(now, "the first frame must be Hello", after),
            (Phase::Talking, In::Hello(_)) => self.cut_for_protocol(now, "Hello came twice", after),
            (Phase::Talking, In::Attach(attach)) => self.attach(slot, attach, now, after),
            (Phase::Talking, In::Update(update)) => self.update(slot, update, after),
            (Phase::Talking, In::Detach(_)) => {
                self.open_devices()
                    .filter(|open| open.live.slot == slot)
                    .for_each(|open| open.live.shown.leave());
                self.close_slot(slot, EndCause::Lost, CloseCode::Unspecified, after)
            }
            (Phase::Talking, In::Result(result)) => {
                let (part, missing) = ((slot, Tag(result.tag)), missing(&result));
                self.hear(slot, now, after, |slot, inbox| slot.result(result, inbox));
                self.incoming.let_pass_unless_taken(part, missing);
            }
            (Phase::Talking, In::Chunk(chunk)) => {
                self.hear(slot, now, after, |slot, inbox| slot.chunk(chunk, inbox))
            }
            (Phase::Talking, In::Cancelled(cancelled)) => {
                self.hear(slot, now, after, |slot, inbox| slot.cancelled(cancelled, inbox));
            }
            (Phase::Talking, In::Refused(refused)) => {
                self.hear(slot, now, after, |slot, inbox| slot.refused(refused, inbox));
            }
            (Phase::Talking, In::Pong(_)) => self.open_devices().for_each(|open| open.live.shown.trust()),
            (Phase::Talking, In::Credit(credit)) => self.outbox.credit((slot, Tag(credit.tag)), credit.bytes),
            (Phase::Talking, In::Event(_) | In::Credentials(_)) => {}
        }
    }

    pub(crate) fn open_devices(&self) -> impl Iterator<Item = &OpenSlot> {
        self.slots.values().filter_map(|slot| match slot {
            Slot::Open(open) => Some(&**open),
            Slot::Opening(_) => None,
        })
    }

    fn hello(&mut self, hello: &device::Hello, welcome: Welcome, now: Instant, after: &mut After) {
        if hello.protocol_min > PROTOCOL || hello.protocol_max < PROTOCOL {
            let message = format!(
                "this node speaks protocol {PROTOCOL}, the agent {} to {}",
                hello.protocol_min, hello.protocol_max
            );
            return self.cut(CloseCode::Version, message, now, after);
        }
        self.phase = Phase::Talking;
        if hello.credit {
            self.incoming.wait_for_credit();
            self.outbox.set_flow(Flow::OnCredit);
        }
        let welcome = Welcome { credit: hello.credit, ..welcome };
        self.outbox.push_control(frame(0, Frame::Welcome(welcome)));
    }

    fn attach(&mut self, slot: u32, attach: device::Attach, now: Instant, after: &mut After) {
        if self.slots.contains_key(&slot) {
            return self.cut_for_protocol(now, "Attach on a slot that is in use", after);
        }
        if self.slots.len() >= limits::SLOTS_PER_CONNECTION as usize {
            let message = format!("a connection carries at most {} devices", limits::SLOTS_PER_CONNECTION);
            return self.refuse(slot, refusal(CloseCode::Overloaded, message));
        }
        match check_attach(attach) {
            Err(message) => self.refuse(slot, refusal(CloseCode::Invalid, message)),
            Ok(attach) => {
                self.openings += 1;
                self.slots.insert(slot, Slot::Opening(self.openings));
                after.requests.push(Request::Open { slot, opening: self.openings, attach });
            }
        }
    }

    fn refuse(&mut self, slot: u32, refused: device::AttachRefused) {
        self.outbox.push_control(frame(slot, Frame::AttachRefused(refused)));
    }

    fn update(&mut self, slot: u32, update: device::Update, after: &mut After) {
        let Some(Slot::Open(open)) = self.slots.get(&slot) else { return };
        match check_profile(update.profile.unwrap_or_default()) {
            Ok(profile) => after.requests.push(Request::Update {
                live: Arc::clone(&open.live),
                update_number: update.update_number,
                profile: Arc::new(profile),
            }),
            Err(message) => {
                self.close_slot_saying(slot, EndCause::Closed, CloseCode::Invalid, message, after)
            }
        }
    }

    fn hear(
        &mut self,
        slot: u32,
        now: Instant,
        after: &mut After,
        frame: impl FnOnce(&mut OpenSlot, Inbox<'_>) -> Heard,
    ) {
        // A slot that was closed meanwhile: the frame crossed the close.
        let Some(Slot::Open(open)) = self.slots.get_mut(&slot) else {
            return self.shared.metrics.late.increment(1);
        };
        let inbox = Inbox {
            now,
            max_payload_bytes: self.shared.config.max_payload_bytes as u64,
            incoming: &mut self.incoming,
            outbox: &mut self.outbox,
            after,
        };
        let heard = frame(open, inbox);
        open.publish(&self.shared);
        match heard {
            Heard::Awaited => {}
            Heard::Late => self.shared.metrics.late.increment(1),
            Heard::Nonsense(message) => return self.cut_for_protocol(now, message, after),
        }
        self.free_if_retired(slot, now, after);
    }

    fn free_if_retired(&mut self, slot: u32, now: Instant, after: &mut After) {
        let Some(Slot::Open(open)) = self.slots.get(&slot) else { return };
        if open.retiring_until.is_some_and(|until| open.is_idle() || until <= now) {
            self.close_slot(slot, EndCause::Superseded, CloseCode::Superseded, after);
        }
    }

    /// The registry has opened a session. `false`: nobody waits for it any more.
    pub(crate) fn opened(
        &mut self,
        opening: u64,
        live: Arc<LiveDevice>,
        attached: device::Attached,
        now: Instant,
    ) -> bool {
        let slot = live.slot;
        let Some(waiting @ Slot::Opening(_)) = self.slots.get_mut(&slot) else { return false };
        if !matches!(waiting, Slot::Opening(number) if *number == opening) {
            return false;
        }
        let mut open = Box::new(OpenSlot::new(live, &self.shared, now));
        open.reserve();
        open.publish(&self.shared);
        *waiting = Slot::Open(open);
        self.outbox.push_control(frame(slot, Frame::Attached(attached)));
        true
    }

    /// The registry has not opened a session.
    pub(crate) fn not_opened(&mut self, slot: u32, opening: u64, refused: device::AttachRefused) {
        if matches!(self.slots.get(&slot), Some(Slot::Opening(number)) if *number == opening) {
            self.slots.remove(&slot);
            self.refuse(slot, refused);
        }
    }

    /// An Update is in force. `false`: the session is over.
    pub(crate) fn updated(
        &mut self,
        live: Arc<LiveDevice>,
        number: u64,
        now: Instant,
        after: &mut After,
    ) -> bool {
        let slot = live.slot;
        if !self.reassigned(live, now, after) {
            return false;
        }
        self.outbox.push_control(frame(slot, Frame::Updated(device::Updated { update_number: number })));
        true
    }

    /// The session has another profile, of which the agent need not know. `false`: the session is over.
    pub(crate) fn reassigned(&mut self, live: Arc<LiveDevice>, now: Instant, after: &mut After) -> bool {
        let Some(open) = self.open_slot(live.slot, live.epoch) else { return false };
        let profile = Arc::clone(&live.profile);
        open.1.update(&profile, live, now, open.0, after);
        true
    }

    fn open_slot(&mut self, slot: u32, epoch: Epoch) -> Option<(&mut Outbox, &mut OpenSlot)> {
        match self.slots.get_mut(&slot) {
            Some(Slot::Open(open)) if open.live.epoch == epoch => Some((&mut self.outbox, open)),
            Some(_) | None => None,
        }
    }

    /// Accepts a call for the session of `live` or says why not.
    pub(crate) fn deliver(
        &mut self,
        live: &LiveDevice,
        delivery: impl FnOnce() -> Box<Delivery>,
        terms: Terms<'_>,
        reply: ReplyTo,
    ) -> Result<Tag, (ReplyTo, Failure)> {
        let shared = Arc::clone(&self.shared);
        if self.absent.contains_key(&live.epoch) {
            return Err((reply, away().on_device(live.key.device.clone())));
        }
        let Some((outbox, open)) = self.open_slot(live.slot, live.epoch) else {
            let failure = Failure::not_executed(Reason::StaleRoute, "the device's session is over");
            return Err((reply, failure.on_device(live.key.device.clone())));
        };
        let accepted = open.deliver(delivery, terms, reply, outbox);
        open.publish(&shared);
        accepted
    }

    /// The node's clock moved on: pings, and drops what is silent or stuck.
    pub(crate) fn tick(&mut self, judging: Judging, now: Instant, after: &mut After) {
        let interval = self.shared.config.heartbeat_interval;
        if self.is_ending() {
            return;
        }
        if judging == Judging::Now && self.silence(now) >= interval * 2 {
            return self.cut(
                CloseCode::Heartbeat,
                "nothing was heard for two heartbeat intervals".to_owned(),
                now,
                after,
            );
        }
        let stuck =
            self.stuck_since.is_some_and(|since| now.saturating_duration_since(since) >= interval * 2);
        let stuck = stuck && judging == Judging::Now;
        if stuck || self.outbox.control_len() > limits::OUTBOX_CONTROL_FRAMES {
            let message = "the agent does not read what it is sent".to_owned();
            return self.cut(CloseCode::TooSlow, message, now, after);
        }
        if now.saturating_duration_since(self.last_ping) >= interval {
            self.probe(now);
        }
        let slots: Vec<u32> = self.slots.keys().copied().collect();
        for slot in slots {
            if let Some(Slot::Open(open)) = self.slots.get_mut(&slot) {
                open.tick(now, &mut self.outbox, after);
                open.publish(&self.shared);
            }
            self.free_if_retired(slot, now, after);
        }
    }
}

/// By what a session was superseded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Supersession {
    /// The newer session's epoch.
    pub(crate) winner: Epoch,
    /// The node that holds it.
    pub(crate) node: NodeId,
    /// Whether it belongs to the same agent process.
    pub(crate) same_instance: bool,
}

/// A refusal without advice on when to come back.
pub(crate) fn refusal(code: CloseCode, message: String) -> device::AttachRefused {
    device::AttachRefused { code: code.into(), message, retry_after: None, try_addrs: Vec::new() }
}
