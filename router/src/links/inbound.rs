//! The holder's side of one link: calls that came over it, and the replies that wait for its transport.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use hashbrown::{HashMap, hash_map::Entry};
use parking_lot::Mutex;
use rollcall_proto::peer::{
    CallFrame, ForwardCall, LinkBeat, LinkChunk, LinkResponse, ReplyFrame, call_frame, reply_frame,
};
use tokio::sync::Notify;

use super::{outbound::wake, wire};
use crate::{
    core::{
        lanes::{Lanes, Next},
        room::Room,
    },
    delivery::{Answer, AnswerSink},
    limits,
    outcome::{Failure, Outcome, Reason, Stage},
    payload::{Assembled, Assembly, Payload},
    sessions::{ending::GiveUp, group_load::GroupLoad, ticket::Ticket},
};

/// A call that came over the link.
enum Call {
    /// Its payload is still arriving.
    Assembling(Arriving),
    /// It is being given to a device.
    Starting,
    /// A device has it, or its queue; with the load of its group, if it was for any of the group.
    Running(Ticket, Option<Arc<GroupLoad>>),
    /// No device took it, of the group with this load.
    Refused(Option<Arc<GroupLoad>>),
}

/// A call of whose payload chunks are still to come.
struct Arriving {
    call: Box<ForwardCall>,
    assembly: Assembly,
    /// Bytes that were missing when it began.
    missing: u64,
    /// Whether there is room for them.
    has_room: bool,
}

/// A reply that waits for the transport.
struct Outgoing {
    call_id: u64,
    kind: reply_frame::Kind,
    rest: Payload,
    group_calls: Option<u64>,
}

struct State {
    calls: HashMap<u64, Call>,
    lanes: Lanes<ReplyFrame, Outgoing, u64>,
    room: Room,
    waker: Option<Waker>,
    closed: bool,
}

impl State {
    /// There is room for the rest of a call's payload.
    fn grant(&mut self, call_id: u64, bytes: u64) {
        match self.calls.get_mut(&call_id) {
            Some(Call::Assembling(arriving)) => {
                arriving.has_room = true;
                self.lanes.push_control(frame_of(call_id, reply_frame::Kind::CreditBytes(bytes)));
            }
            _ => self.room.free(bytes),
        }
    }

    /// A call's payload has arrived, or is not wanted any more.
    fn give_up_room(&mut self, call_id: u64, arriving: &Arriving) {
        if arriving.has_room {
            self.room.free(arriving.missing);
        } else {
            self.room.forget(call_id);
        }
        while let Some((call_id, bytes)) = self.room.next() {
            self.grant(call_id, bytes);
        }
    }

    /// The writer's, if there is something to write.
    fn waker_if_due(&mut self) -> Option<Waker> {
        if self.lanes.is_empty() { None } else { self.waker.take() }
    }
}

/// One link, as its holder uses it.
pub(crate) struct Inbound {
    node_name: String,
    max_payload_bytes: u64,
    /// Told when the link is closed.
    pub(crate) over: Notify,
    state: Mutex<State>,
}

/// A call that has arrived whole.
pub(crate) struct Arrived {
    /// Its name on this link.
    pub(crate) call_id: u64,
    /// The call, without payload.
    pub(crate) call: Box<ForwardCall>,
    /// Its payload.
    pub(crate) payload: Payload,
}

impl Inbound {
    pub(crate) fn new(node_name: String, max_payload_bytes: usize) -> Self {
        let state = State {
            calls: HashMap::new(),
            lanes: Lanes::new(limits::CHUNK_BYTES),
            room: Room::new(limits::LINK_ROOM_BYTES),
            waker: None,
            closed: false,
        };
        Self {
            node_name,
            max_payload_bytes: max_payload_bytes as u64,
            over: Notify::new(),
            state: Mutex::new(state),
        }
    }

    /// A frame came from the origin. Returns the call that is complete with it, to be given to a device.
    ///
    /// # Errors
    /// Why the link is to be closed.
    pub(crate) fn received(&self, frame: CallFrame, own: LinkBeat) -> Result<Option<Arrived>, &'static str> {
        let call_id = frame.call_id;
        match frame.kind {
            Some(call_frame::Kind::Call(call)) => self.call(call_id, call),
            Some(call_frame::Kind::Chunk(chunk)) => self.chunk(call_id, chunk),
            Some(call_frame::Kind::Cancel(cancel)) => {
                self.cancel(call_id, if cancel.deadline { GiveUp::Deadline } else { GiveUp::Cancelled });
                Ok(None)
            }
            Some(call_frame::Kind::Beat(beat)) => {
                let beat = LinkBeat { number: beat.number, ..own };
                let beat = frame_of(0, reply_frame::Kind::Beat(beat));
                self.push(|lanes| lanes.push_control(beat));
                Ok(None)
            }
            Some(call_frame::Kind::CreditBytes(bytes)) => {
                self.push(|lanes| lanes.credit(call_id, bytes));
                Ok(None)
            }
            Some(
                call_frame::Kind::Replay(_) | call_frame::Kind::ReplayChunk(_) | call_frame::Kind::Ask(_),
            ) => Ok(None),
            None => Err("a frame of no known kind"),
        }
    }

    fn call(&self, call_id: u64, mut call: Box<ForwardCall>) -> Result<Option<Arrived>, &'static str> {
        let payload = std::mem::take(&mut call.payload);
        let expected = call.payload_bytes.max(payload.len() as u64);
        let mut state = self.state.lock();
        if state.lanes.len() > 2 * limits::LINK_CALLS {
            return Err("the origin does not read its replies");
        }
        let room = state.calls.len() < limits::LINK_CALLS;
        let Entry::Vacant(vacant) = state.calls.entry(call_id) else { return Err("a call id came twice") };
        let refusal = if expected > self.max_payload_bytes {
            Some(Failure::not_executed(
                Reason::PayloadTooLarge,
                "the payload is larger than the holder's limit",
            ))
        } else if !room {
            Some(Failure::not_executed(Reason::Overloaded, "the holder has too many calls of this link"))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            vacant.insert(Call::Starting);
            drop(state);
            self.answer(call_id, Err(refusal));
            return Ok(None);
        }
        if expected > payload.len() as u64 {
            let missing = expected - payload.len() as u64;
            let assembly = Assembly::new(payload, expected);
            vacant.insert(Call::Assembling(Arriving { call, assembly, missing, has_room: false }));
            if state.room.ask(call_id, missing) {
                state.grant(call_id, missing);
            }
            let waker = state.waker_if_due();
            drop(state);
            wake(waker);
            return Ok(None);
        }
        vacant.insert(Call::Starting);
        Ok(Some(Arrived { call_id, call, payload: payload.into() }))
    }

    fn chunk(&self, call_id: u64, chunk: LinkChunk) -> Result<Option<Arrived>, &'static str> {
        let mut state = self.state.lock();
        // Of a call that was refused or cancelled meanwhile.
        let Some(call) = state.calls.get_mut(&call_id) else { return Ok(None) };
        let Call::Assembling(arriving) = call else { return Err("a chunk of a call that is complete") };
        match arriving.assembly.push(chunk.data, chunk.last) {
            Assembled::Partly => Ok(None),
            Assembled::Mismatch => Err("a call's chunks do not add up to its payload_bytes"),
            Assembled::Whole => {
                let Call::Assembling(arriving) = std::mem::replace(call, Call::Starting) else {
                    return Ok(None);
                };
                state.give_up_room(call_id, &arriving);
                let waker = state.waker_if_due();
                drop(state);
                wake(waker);
                let Arriving { call, assembly, .. } = arriving;
                Ok(Some(Arrived { call_id, call, payload: assembly.into_payload() }))
            }
        }
    }

    fn cancel(&self, call_id: u64, why: GiveUp) {
        let running = match self.state.lock().calls.get_mut(&call_id) {
            None => return,
            // Its answer comes through `answer`, at once or because it is on its way already.
            Some(call @ Call::Running(..)) => std::mem::replace(call, Call::Starting),
            Some(Call::Assembling(_) | Call::Starting | Call::Refused(_)) => Call::Starting,
        };
        if let Call::Running(ticket, _) = running {
            return ticket.cancel(why);
        }
        let failure = match why {
            GiveUp::Deadline => Failure::deadline(Stage::Forward, Outcome::NotExecuted),
            GiveUp::Cancelled | GiveUp::Lost => {
                Failure::not_executed(Reason::Cancelled, "the caller cancelled")
            }
        };
        self.answer(call_id, Err(failure));
    }

    /// Whether a call that waits to be started is still wanted.
    pub(crate) fn is_wanted(&self, call_id: u64) -> bool {
        self.state.lock().calls.contains_key(&call_id)
    }

    /// No device took a call: its failure will say the load of the group.
    pub(crate) fn refused(&self, call_id: u64, load: Option<Arc<GroupLoad>>) {
        if let Some(call) = self.state.lock().calls.get_mut(&call_id) {
            *call = Call::Refused(load);
        }
    }

    /// A device has accepted a call; `load` is that of its group, if it was for any of the group.
    pub(crate) fn started(&self, call_id: u64, ticket: Ticket, load: Option<Arc<GroupLoad>>) {
        let closed = {
            let mut state = self.state.lock();
            if let Some(call) = state.calls.get_mut(&call_id) {
                *call = Call::Running(ticket, load);
                return;
            }
            state.closed
        };
        // Answered already; or the link is gone, and nobody wants it.
        if closed {
            ticket.cancel(GiveUp::Lost);
        }
    }

    fn push(&self, push: impl FnOnce(&mut Lanes<ReplyFrame, Outgoing, u64>)) {
        let waker = {
            let mut state = self.state.lock();
            if state.closed {
                return;
            }
            push(&mut state.lanes);
            state.waker.take()
        };
        wake(waker);
    }

    /// The link is gone: its calls are cancelled, but idempotent ones go on, to be asked for by another way.
    pub(crate) fn close(&self) {
        let (calls, waker) = {
            let mut state = self.state.lock();
            state.closed = true;
            state.lanes.clear();
            (std::mem::take(&mut state.calls), state.waker.take())
        };
        self.over.notify_one();
        wake(waker);
        for call in calls.into_values() {
            if let Call::Running(ticket, _) = call {
                ticket.cancel(GiveUp::Lost);
            }
        }
    }

    /// The transport comes for a packet. `None`: the link is closed.
    pub(crate) fn poll_packet(&self, cx: &Context<'_>) -> Poll<Option<LinkResponse>> {
        let mut state = self.state.lock();
        if state.closed {
            return Poll::Ready(None);
        }
        let mut frames = Vec::new();
        let mut bytes = 0;
        while frames.len() < limits::PACKET_FRAMES && bytes < limits::PACKET_BYTES {
            let Some(next) = state.lanes.next() else { break };
            frames.push(reply_frame_of(&mut state.lanes, next, &mut bytes));
        }
        if !frames.is_empty() {
            return Poll::Ready(Some(LinkResponse { frames }));
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl AnswerSink for Inbound {
    fn answer(&self, call_id: u64, answer: Answer) {
        let (kind, rest) = match answer {
            Ok(mut reply) => {
                let mut head = wire::reply_head(&mut reply);
                head.payload = reply.payload.take(limits::CHUNK_BYTES);
                (reply_frame::Kind::Reply(Box::new(head)), reply.payload)
            }
            Err(failure) => {
                let failure = failure.on_node(self.node_name.as_str());
                (reply_frame::Kind::Failure(Box::new(wire::failure_to_proto(failure))), Payload::default())
            }
        };
        let waker = {
            let mut state = self.state.lock();
            let Some(call) = state.calls.remove(&call_id) else { return };
            let group_calls = match call {
                Call::Running(_, load) | Call::Refused(load) => load.map(|load| load.calls()),
                Call::Assembling(arriving) => {
                    state.give_up_room(call_id, &arriving);
                    None
                }
                Call::Starting => None,
            };
            state.lanes.push_small(Outgoing { call_id, kind, rest, group_calls });
            state.waker.take()
        };
        wake(waker);
    }
}

fn frame_of(call_id: u64, kind: reply_frame::Kind) -> ReplyFrame {
    ReplyFrame { call_id, kind: Some(kind), group_calls: None }
}

fn reply_frame_of(
    lanes: &mut Lanes<ReplyFrame, Outgoing, u64>,
    next: Next<ReplyFrame, Outgoing, u64>,
    bytes: &mut usize,
) -> ReplyFrame {
    match next {
        Next::Control(frame) => frame,
        Next::Chunk { key, data, last } => {
            *bytes += data.len();
            frame_of(key, reply_frame::Kind::Chunk(LinkChunk { data, last }))
        }
        Next::Small(Outgoing { call_id, kind, rest, group_calls }) => {
            if let reply_frame::Kind::Reply(reply) = &kind {
                *bytes += reply.payload.len();
            }
            if !rest.is_empty() {
                lanes.push_bulk_on_credit(call_id, rest);
            }
            ReplyFrame { call_id, kind: Some(kind), group_calls }
        }
    }
}
