//! The holder's side of one link: calls that came over it, and the replies that wait for its transport. Answers of other
//! nodes that came over it are put together in `replays`.

mod answers;
mod replays;
mod state;

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use hashbrown::hash_map::Entry;
use parking_lot::Mutex;
use rollcall_proto::peer::{
    CallFrame, ForwardCall, LinkBeat, LinkChunk, LinkResponse, PickedDevice, ReplyFrame, call_frame,
    reply_frame,
};
use rollcall_registry::model::ids::{DeviceKey, Epoch};
use tokio::{sync::Notify, time::Instant};

use self::{
    answers::{frame_of, reply_frame_of},
    state::{Arriving, Call, State},
};
use super::{outbound::wake, wire};
use crate::{
    core::{lanes::Lanes, token::CallToken},
    delivery::{AnswerSink, LateAnswers, Replayed},
    limits,
    outcome::{Failure, Outcome, Reason, Stage},
    payload::{Assembled, Assembly, Payload},
    sessions::{ending::GiveUp, group_load::GroupLoad, replays::Question, ticket::Ticket},
};

/// A call that a device has accepted.
pub(crate) struct Started {
    /// Its name on the link.
    pub(crate) call_id: u64,
    /// Its name in the whole cluster.
    pub(crate) token: CallToken,
    /// The means to give it up.
    pub(crate) ticket: Ticket,
    /// The load of its group, if it was for any of the group: then the device was chosen here.
    pub(crate) load: Option<Arc<GroupLoad>>,
}

/// One link, as its holder uses it.
pub(crate) struct Inbound {
    node_name: String,
    max_payload_bytes: u64,
    /// Takes the answers that come after the link.
    late: Arc<dyn LateAnswers>,
    /// Told when the link is closed.
    pub(crate) over: Notify,
    state: Mutex<State>,
}

/// Something that has arrived whole.
pub(crate) enum Arrival {
    /// A call, to be given to a device.
    Call(Arrived),
    /// An answer to a call of this node.
    Replay(Box<Replayed>),
    /// A question about a device of this node.
    Question(Question),
    /// A doubt whether the device of a session of this node still answers.
    Doubt(DeviceKey, Epoch),
}

/// A call that has arrived whole.
pub(crate) struct Arrived {
    /// Its name on this link.
    pub(crate) call_id: u64,
    /// The call, without payload.
    pub(crate) call: Box<ForwardCall>,
    /// Its payload.
    pub(crate) payload: Payload,
    /// When the call came, or should have come: its remaining time counts from then.
    pub(crate) since: Instant,
}

impl Inbound {
    pub(crate) fn new(node_name: String, max_payload_bytes: usize, late: Arc<dyn LateAnswers>) -> Self {
        Self {
            node_name,
            max_payload_bytes: max_payload_bytes as u64,
            late,
            over: Notify::new(),
            state: Mutex::new(State::new()),
        }
    }

    /// A frame came from the origin, or should have come, at `since`. Returns what is complete with it.
    ///
    /// # Errors
    /// Why the link is to be closed.
    pub(crate) fn received(
        &self,
        frame: CallFrame,
        own: LinkBeat,
        since: Instant,
    ) -> Result<Option<Arrival>, &'static str> {
        let call_id = frame.call_id;
        match frame.kind {
            Some(call_frame::Kind::Call(call)) => Ok(self.call(call_id, call, since)?.map(Arrival::Call)),
            Some(call_frame::Kind::Chunk(chunk)) => Ok(self.chunk(call_id, chunk)?.map(Arrival::Call)),
            Some(call_frame::Kind::Replay(replay)) => Ok(self.replay(call_id, replay)),
            Some(call_frame::Kind::ReplayChunk(chunk)) => self.replay_chunk(call_id, chunk),
            Some(call_frame::Kind::Ask(ask)) if ask.doubted => {
                let device = DeviceKey::new(&ask.namespace, &ask.device_id);
                Ok(Some(Arrival::Doubt(device, Epoch(ask.epoch))))
            }
            Some(call_frame::Kind::Ask(ask)) => Ok(Some(Arrival::Question(wire::question_of(ask)))),
            Some(call_frame::Kind::Cancel(cancel)) if cancel.answered => {
                self.drop_answered(call_id);
                Ok(None)
            }
            Some(call_frame::Kind::Cancel(cancel)) => {
                self.cancel(call_id, if cancel.deadline { GiveUp::Deadline } else { GiveUp::Cancelled });
                Ok(None)
            }
            Some(call_frame::Kind::Beat(beat)) => {
                let beat = LinkBeat { number: beat.number, ..own };
                let beat = frame_of(0, reply_frame::Kind::Beat(beat));
                self.push(|lanes| lanes.push_control(beat));
                self.say_chosen(Instant::now());
                Ok(None)
            }
            Some(call_frame::Kind::CreditBytes(bytes)) => {
                self.push(|lanes| lanes.credit(call_id, bytes));
                Ok(None)
            }
            None => Err("a frame of no known kind"),
        }
    }

    fn call(
        &self,
        call_id: u64,
        mut call: Box<ForwardCall>,
        since: Instant,
    ) -> Result<Option<Arrived>, &'static str> {
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
            vacant.insert(Call::Assembling(Arriving { call, assembly, since, missing, has_room: false }));
            if state.room.ask(call_id, missing) {
                state.grant(call_id, missing);
            }
            let waker = state.waker_if_due();
            drop(state);
            wake(waker);
            return Ok(None);
        }
        vacant.insert(Call::Starting);
        Ok(Some(Arrived { call_id, call, payload: payload.into(), since }))
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
                let Arriving { call, assembly, since, .. } = arriving;
                Ok(Some(Arrived { call_id, call, payload: assembly.into_payload(), since }))
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
        if let Call::Running(ticket, ..) = running {
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

    /// A device has accepted a call.
    pub(crate) fn started(&self, started: Started) {
        let Started { call_id, token, ticket, load } = started;
        let closed = {
            let mut state = self.state.lock();
            if !state.closed
                && let Some(call) = state.calls.get_mut(&call_id)
            {
                let chosen_here = load.is_some();
                *call = Call::Running(ticket, token, load);
                if chosen_here {
                    state.chosen.push_back((call_id, Instant::now()));
                }
                return;
            }
            state.closed
        };
        // Answered already; or the link is gone, and nobody wants it.
        if closed {
            ticket.cancel(GiveUp::Lost);
        }
    }

    /// Tells the origin which devices have the calls that last: it must know whom to believe should this node be lost.
    fn say_chosen(&self, now: Instant) {
        let waker = {
            let mut state = self.state.lock();
            let State { calls, chosen, lanes, .. } = &mut *state;
            while let Some((call_id, since)) = chosen.front().copied()
                && now.saturating_duration_since(since) >= limits::PICKED_AFTER
            {
                chosen.pop_front();
                let Some(Call::Running(Ticket::Own(place), ..)) = calls.get(&call_id) else { continue };
                let picked = PickedDevice {
                    device_id: place.live.key.device.to_string(),
                    epoch: place.live.epoch.0,
                    instance: place.live.instance.0,
                };
                lanes.push_control(frame_of(call_id, reply_frame::Kind::Picked(picked)));
            }
            state.waker_if_due()
        };
        wake(waker);
    }

    /// The device's answer went another way.
    fn drop_answered(&self, call_id: u64) {
        let dropped = self.state.lock().calls.remove(&call_id);
        if let Some(Call::Running(ticket, ..)) = dropped {
            ticket.cancel(GiveUp::Cancelled);
        }
    }

    fn push(&self, push: impl FnOnce(&mut Lanes<ReplyFrame, state::Outgoing, u64>)) {
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

    /// The link is gone. Calls that devices have go on, and their answers find another way; idempotent ones can be asked
    /// for as well.
    pub(crate) fn close(&self) {
        let (lost, waker) = {
            let mut state = self.state.lock();
            state.closed = true;
            state.lanes.clear();
            state.chosen.clear();
            state.replays.clear();
            let ends = |_: &u64, call: &mut Call| !matches!(call, Call::Running(Ticket::Own(_), ..));
            let lost: Vec<Call> = state.calls.extract_if(ends).map(|(_, call)| call).collect();
            (lost, state.waker.take())
        };
        self.over.notify_one();
        wake(waker);
        Self::give_up(lost);
    }

    /// Nobody has asked for the calls that went on since the link was closed.
    pub(crate) fn abandon(&self) {
        let left = std::mem::take(&mut self.state.lock().calls);
        Self::give_up(left.into_values().collect());
    }

    fn give_up(calls: Vec<Call>) {
        for call in calls {
            if let Call::Running(ticket, ..) = call {
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
