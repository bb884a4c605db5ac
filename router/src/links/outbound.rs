//! The caller's side of one link: frames wait here until the transport takes them, answers come back here.
//!
//! Lives longer than its transport: a new dial starts a new session, and calls never cross from one to the next. Those
//! that a device may still answer by another way wait for that in `orphans`; `replays` are such answers.

pub(super) mod orphans;
pub(super) mod replays;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use parking_lot::Mutex;
use rollcall_proto::peer::{
    CallFrame, CancelForward, ForwardCall, LinkBeat, LinkRequest, LinkResponse, ReplyFrame, call_frame,
    reply_frame,
};
use rollcall_registry::model::ids::NodeId;
use tokio::time::Instant;

use super::{
    outbound_state::{Beats, Heard, Outgoing, State},
    pending::{Answers, Sent},
    wire,
};
use crate::{
    core::room::Room,
    delivery::ReplyTo,
    limits,
    outcome::{Failure, Outcome, Reason, Stage},
    payload::Payload,
    sessions::ending::{GiveUp, given_up},
};

/// One link, as its caller uses it.
pub(crate) struct OutboundLink {
    /// This node.
    me: NodeId,
    state: Mutex<State>,
    up: AtomicBool,
    /// Calls that wait for their devices' return; at most so many, because those that ended are counted out later.
    orphaned: AtomicUsize,
    /// How hard the peer is pressed, as it last said.
    pressure: AtomicU32,
    /// Calls of which the peer said which device it picked.
    picked: AtomicU64,
}

impl OutboundLink {
    pub(crate) fn new(me: NodeId) -> Self {
        Self {
            me,
            state: Mutex::new(State::new()),
            up: AtomicBool::new(false),
            orphaned: AtomicUsize::new(0),
            pressure: AtomicU32::new(0),
            picked: AtomicU64::new(0),
        }
    }

    /// Whether it takes calls.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// How hard the peer is pressed, in percent, as it last said.
    pub(crate) fn pressure(&self) -> u32 {
        self.pressure.load(Ordering::Relaxed)
    }

    /// Calls of which the peer said which device it picked.
    pub(crate) fn picked(&self) -> u64 {
        self.picked.load(Ordering::Relaxed)
    }

    /// Of the last beat that was answered.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.state.lock().beats.round_trip
    }

    /// Queues a call, whose remaining time counts from `now`. Never waits.
    ///
    /// # Errors
    /// `HOLDER_UNREACHABLE` or `OVERLOADED`, both not executed.
    pub(crate) fn send(
        self: &Arc<Self>,
        mut call: Box<ForwardCall>,
        mut payload: Payload,
        waiter: ReplyTo,
        sent: Sent,
        now: Instant,
    ) -> Result<LinkTicket, Failure> {
        let (call_id, waker) = {
            let mut state = self.state.lock();
            if state.session == 0 || !self.is_up() {
                return Err(unreachable());
            }
            if state.is_full(payload.len()) {
                return Err(Failure::not_executed(
                    Reason::Overloaded,
                    "the link to the device's node is full",
                ));
            }
            let call_id = state.pending.insert(waiter, sent);
            if let Some(token) = &mut call.token {
                token.call = call_id;
            }
            state.queued_bytes += payload.len();
            call.payload_bytes = payload.len();
            call.payload = payload.take(limits::CHUNK_BYTES);
            state.lanes.push_small(Outgoing::Call { call_id, call, rest: payload, since: now });
            (call_id, state.waker.take())
        };
        wake(waker);
        Ok(LinkTicket { link: Arc::clone(self), call_id })
    }

    fn cancel(&self, call_id: u64, why: GiveUp) {
        let mut answers = Answers::default();
        let waker = {
            let mut state = self.state.lock();
            let Some(pending) = state.pending.get_mut(call_id) else { return };
            let (handed, orphaned) = (pending.handed, pending.orphaned_until.is_some());
            if handed && !orphaned {
                let cancel = CancelForward { deadline: why == GiveUp::Deadline, answered: false };
                state.tell_cancel(call_id, cancel);
            }
            // A late caller still waits a moment for the holder's word.
            if (why != GiveUp::Deadline || !handed || orphaned)
                && let Some(pending) = state.remove(call_id)
            {
                let failure =
                    if orphaned { given_up(why, Stage::Device, Outcome::Unknown) } else { unsent(why) };
                answers.push(pending.waiter, Err(failure));
            }
            state.waker.take()
        };
        wake(waker);
        answers.send();
    }

    fn forget(&self, call_id: u64) {
        let waker = {
            let mut state = self.state.lock();
            drop(state.remove(call_id));
            state.waker_if_due()
        };
        wake(waker);
    }

    /// A dial succeeded: the transport takes calls. Returns the session's number.
    pub(crate) fn opened(&self) -> u64 {
        let mut state = self.state.lock();
        state.sessions += 1;
        state.session = state.sessions;
        state.last_heard = Instant::now();
        state.beats = Beats::default();
        self.up.store(true, Ordering::Release);
        state.session
    }

    /// The number that the next session will have: its stream of packets is made before the dial.
    pub(crate) fn next_session(&self) -> u64 {
        self.state.lock().sessions + 1
    }

    /// The transport is gone: calls end, but those that their devices may have wait for their return until then.
    pub(crate) fn broken(&self, until: Instant) {
        let mut ended = Vec::new();
        {
            let mut state = self.state.lock();
            self.close(&mut state);
            let orphans = state.pending.orphan_all(until, &mut ended);
            state.orphans.add(orphans);
            self.orphaned.store(state.orphans.len(), Ordering::Release);
        }
        Answers(ended).send();
    }

    /// The peer is no member any more: all calls end.
    pub(crate) fn removed(&self) {
        let ended = {
            let mut state = self.state.lock();
            self.close(&mut state);
            state.pending.break_all()
        };
        Answers(ended).send();
    }

    fn close(&self, state: &mut State) {
        self.up.store(false, Ordering::Release);
        state.session = 0;
        state.lanes.clear();
        state.queued_bytes = 0;
        // Replies that were half received are dropped with the calls, or asked for again.
        state.room = Room::new(limits::LINK_ROOM_BYTES);
    }

    /// The clock moved on: beats, and takes no calls while nothing is heard. `false`: the link is dead. `late`: how much later
    /// this is than it was due; whoever was not there cannot say that nothing came, and what came has not been read yet.
    pub(crate) fn tick(&self, own: LinkBeat, late: Duration) -> bool {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.last_heard = (state.last_heard + late).min(now);
        let silence = now.saturating_duration_since(state.last_heard);
        self.up.store(silence < limits::LINK_SILENT, Ordering::Release);
        if state.beats.sent.is_none_or(|sent| now.saturating_duration_since(sent) >= limits::LINK_BEAT) {
            state.beats.number += 1;
            state.beats.sent = Some(now);
            let beat = LinkBeat { number: state.beats.number, ..own };
            state.lanes.push_control(CallFrame { call_id: 0, kind: Some(call_frame::Kind::Beat(beat)) });
        }
        let waker = state.waker.take();
        drop(state);
        wake(waker);
        silence < limits::LINK_DEAD
    }

    /// A packet came from the peer.
    ///
    /// # Errors
    /// Why the link is to be given up.
    pub(crate) fn received(&self, packet: LinkResponse) -> Result<Received, &'static str> {
        let mut answers = Answers::default();
        let mut received = Received::default();
        let (checked, waker) = {
            let mut state = self.state.lock();
            state.last_heard = Instant::now();
            let checked = packet.frames.into_iter().try_for_each(|frame| {
                match self.reply_frame(&mut state, frame, &mut answers)? {
                    Heard::Awaited => {}
                    Heard::Late => received.late += 1,
                    Heard::Picked => received.picked += 1,
                }
                Ok(())
            });
            (checked, state.waker_if_due())
        };
        wake(waker);
        answers.send();
        self.picked.fetch_add(received.picked, Ordering::Relaxed);
        checked.map(|()| received)
    }

    fn reply_frame(
        &self,
        state: &mut State,
        frame: ReplyFrame,
        answers: &mut Answers,
    ) -> Result<Heard, &'static str> {
        let call_id = frame.call_id;
        if let Some(calls) = frame.group_calls
            && let Some(hint) = state.pending.get_mut(call_id).and_then(|pending| pending.sent.hint.as_ref())
        {
            hint.heard(calls);
        }
        match frame.kind {
            Some(reply_frame::Kind::Reply(reply)) => Ok(state.start_reply(call_id, reply, answers)),
            Some(reply_frame::Kind::Chunk(chunk)) => state.continue_reply(call_id, chunk, answers),
            Some(reply_frame::Kind::Failure(failure)) => {
                let Some(pending) = state.remove(call_id) else { return Ok(Heard::Late) };
                state.queued_bytes -= state.lanes.drop_bulk(call_id);
                answers.push(pending.waiter, Err(wire::failure_of_proto(*failure)));
                Ok(Heard::Awaited)
            }
            Some(reply_frame::Kind::Beat(beat)) => {
                self.pressure.store(beat.pressure_percent.min(100), Ordering::Relaxed);
                if beat.number == state.beats.number {
                    state.beats.round_trip = state.beats.sent.map(|sent| sent.elapsed());
                }
                Ok(Heard::Awaited)
            }
            Some(reply_frame::Kind::CreditBytes(bytes)) => {
                state.lanes.credit(call_id, bytes);
                Ok(Heard::Awaited)
            }
            Some(reply_frame::Kind::Picked(picked)) => Ok(state.picked(call_id, picked)),
            None => Err("a frame of no known kind"),
        }
    }

    /// The transport comes for a packet. `None`: its session is over.
    pub(crate) fn poll_packet(&self, session: u64, cx: &Context<'_>) -> Poll<Option<LinkRequest>> {
        let mut state = self.state.lock();
        if state.session != session && state.sessions >= session {
            return Poll::Ready(None);
        }
        let (mut frames, mut bytes, now) = (Vec::new(), 0, Instant::now());
        while frames.len() < limits::PACKET_FRAMES && bytes < limits::PACKET_BYTES {
            let Some(next) = state.lanes.next() else { break };
            frames.extend(state.frame_of(next, now, &mut bytes));
        }
        if !frames.is_empty() {
            let made_at_ms = state.age_ms(now);
            return Poll::Ready(Some(LinkRequest { frames, made_at_ms }));
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// What there was to be counted in a packet.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Frames for calls that nobody waits for any more.
    pub(crate) late: u64,
    /// Calls of which the peer said which device it picked.
    pub(crate) picked: u64,
}

pub(super) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn unsent(why: GiveUp) -> Failure {
    match why {
        GiveUp::Deadline => Failure::deadline(Stage::Forward, Outcome::NotExecuted),
        GiveUp::Cancelled | GiveUp::Lost => Failure::not_executed(Reason::Cancelled, "the caller cancelled"),
    }
}

/// There is no link to the holder.
pub(crate) fn unreachable() -> Failure {
    Failure::not_executed(Reason::HolderUnreachable, "the node that holds the device cannot be reached")
}

/// A call that a link has accepted.
pub(crate) struct LinkTicket {
    link: Arc<OutboundLink>,
    call_id: u64,
}

impl LinkTicket {
    /// The caller gave up. On [`GiveUp::Deadline`] the holder's word on it may still come, until [`Self::forget`].
    pub(crate) fn cancel(&self, why: GiveUp) {
        self.link.cancel(self.call_id, why);
    }

    /// No answer is wanted any more.
    pub(crate) fn forget(&self) {
        self.link.forget(self.call_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_that_was_not_there_does_not_call_its_peer_silent() {
        let link = OutboundLink::new(NodeId(1));
        link.opened();
        let late = limits::LINK_SILENT * 2;
        tokio::time::advance(late).await;
        assert!(link.tick(LinkBeat::default(), late));
        assert!(link.is_up(), "what has come is still to be read");
        tokio::time::advance(limits::LINK_SILENT).await;
        assert!(link.tick(LinkBeat::default(), Duration::ZERO));
        assert!(!link.is_up());
        tokio::time::advance(limits::LINK_DEAD).await;
        assert!(!link.tick(LinkBeat::default(), Duration::ZERO));
    }
}
