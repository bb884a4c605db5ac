//! What an outbound link knows, behind its lock: what waits for the transport, calls without an answer, answers that are
//! still arriving and the room for them.

use std::{task::Waker, time::Duration};

use rollcall_proto::peer::{
    CallFrame, CancelForward, ForwardCall, ForwardReply, LinkChunk, ReplayedAnswer, call_frame,
};
use tokio::time::Instant;

use super::{
    outbound::{orphans::Orphans, replays},
    pending::{Answers, Partial, Pending, PendingCalls},
    wire,
};
use crate::{
    core::{
        lanes::{Lanes, Next},
        room::Room,
    },
    limits,
    payload::{Assembled, Assembly, Payload},
};

/// What waits for the transport.
pub(super) enum Outgoing {
    /// A call of this node.
    Call {
        call_id: u64,
        call: Box<ForwardCall>,
        rest: Payload,
        /// When its remaining time was taken.
        since: Instant,
    },
    /// An answer to a call of the peer.
    Replay { number: u64, replay: Box<ReplayedAnswer>, rest: Payload },
}

#[derive(Default)]
pub(super) struct Beats {
    pub(super) number: u64,
    pub(super) sent: Option<Instant>,
    pub(super) round_trip: Option<Duration>,
}

pub(super) struct State {
    /// Which dial the transport belongs to; 0: none is open.
    pub(super) session: u64,
    pub(super) sessions: u64,
    pub(super) lanes: Lanes<CallFrame, Outgoing, u64>,
    pub(super) queued_bytes: u64,
    pub(super) pending: PendingCalls,
    pub(super) orphans: Orphans,
    /// How many replays went out.
    pub(super) replays: u64,
    pub(super) room: Room<u64>,
    pub(super) last_heard: Instant,
    pub(super) beats: Beats,
    pub(super) waker: Option<Waker>,
    /// The zero of this side's clock.
    born: Instant,
}

impl State {
    /// Nothing sent, nobody connected.
    pub(super) fn new() -> Self {
        Self {
            session: 0,
            sessions: 0,
            lanes: Lanes::new(limits::CHUNK_BYTES),
            queued_bytes: 0,
            pending: PendingCalls::default(),
            orphans: Orphans::default(),
            replays: 0,
            room: Room::new(limits::LINK_ROOM_BYTES),
            last_heard: Instant::now(),
            beats: Beats::default(),
            waker: None,
            born: Instant::now(),
        }
    }

    /// This side's clock, in milliseconds from 1.
    pub(super) fn age_ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Takes a call out, with the room that its reply had.
    pub(super) fn remove(&mut self, call_id: u64) -> Option<Pending> {
        let pending = self.pending.remove(call_id)?;
        if let Some(partial) = &pending.partial {
            if partial.has_room {
                self.room.free(partial.missing);
            } else {
                self.room.forget(call_id);
            }
            while let Some((call_id, bytes)) = self.room.next() {
                self.grant(call_id, bytes);
            }
        }
        Some(pending)
    }

    /// There is room for the rest of a reply.
    fn grant(&mut self, call_id: u64, bytes: u64) {
        match self.pending.get_mut(call_id).and_then(|pending| pending.partial.as_mut()) {
            Some(partial) => {
                partial.has_room = true;
                let kind = Some(call_frame::Kind::CreditBytes(bytes));
                self.lanes.push_control(CallFrame { call_id, kind });
            }
            None => self.room.free(bytes),
        }
    }

    /// A reply came, or its first part.
    pub(super) fn start_reply(
        &mut self,
        call_id: u64,
        mut reply: Box<ForwardReply>,
        answers: &mut Answers,
    ) -> Heard {
        let whole = reply.payload_bytes <= reply.payload.len() as u64;
        let payload = std::mem::take(&mut reply.payload);
        if !whole {
            let Some(pending) = self.pending.get_mut(call_id) else { return Heard::Late };
            let missing = reply.payload_bytes - payload.len() as u64;
            let assembly = Assembly::new(payload, reply.payload_bytes);
            pending.partial = Some(Partial { head: reply, assembly, missing, has_room: false });
            if self.room.ask(call_id, missing) {
                self.grant(call_id, missing);
            }
            return Heard::Awaited;
        }
        let Some(pending) = self.remove(call_id) else { return Heard::Late };
        answers.push(pending.waiter, Ok(wire::reply_of(reply, payload.into())));
        Heard::Awaited
    }

    /// A further part of a reply came.
    pub(super) fn continue_reply(
        &mut self,
        call_id: u64,
        chunk: LinkChunk,
        answers: &mut Answers,
    ) -> Result<Heard, &'static str> {
        let Some(pending) = self.pending.get_mut(call_id) else { return Ok(Heard::Late) };
        let Some(partial) = &mut pending.partial else { return Err("a chunk before its reply") };
        match partial.assembly.push(chunk.data, chunk.last) {
            Assembled::Partly => Ok(Heard::Awaited),
            Assembled::Mismatch => Err("a reply's chunks do not add up to its payload_bytes"),
            Assembled::Whole => {
                if let Some(pending) = self.remove(call_id)
                    && let Some(Partial { head, assembly, .. }) = pending.partial
                {
                    answers.push(pending.waiter, Ok(wire::reply_of(head, assembly.into_payload())));
                }
                Ok(Heard::Awaited)
            }
        }
    }

    /// What goes out next; `None` if nobody wants it any more.
    pub(super) fn frame_of(
        &mut self,
        next: Next<CallFrame, Outgoing, u64>,
        now: Instant,
        bytes: &mut usize,
    ) -> Option<CallFrame> {
        match next {
            Next::Control(frame) => Some(frame),
            Next::Chunk { key, data, last } => {
                *bytes += data.len();
                self.queued_bytes -= data.len() as u64;
                let chunk = LinkChunk { data, last };
                let kind = if replays::names_replay(key) {
                    call_frame::Kind::ReplayChunk(chunk)
                } else {
                    call_frame::Kind::Chunk(chunk)
                };
                Some(CallFrame { call_id: key, kind: Some(kind) })
            }
            Next::Small(Outgoing::Replay { number, replay, rest }) => {
                let first = replays::payload_bytes(&replay);
                *bytes += first;
                self.queued_bytes -= first as u64;
                if !rest.is_empty() {
                    self.lanes.push_bulk(number, rest);
                }
                Some(CallFrame { call_id: number, kind: Some(call_frame::Kind::Replay(*replay)) })
            }
            Next::Small(Outgoing::Call { call_id, mut call, rest, since }) => {
                let first = call.payload.len();
                let Some(pending) = self.pending.get_mut(call_id) else {
                    self.queued_bytes -= first as u64 + rest.len();
                    return None;
                };
                pending.handed = true;
                wire::deduct(&mut call, now.saturating_duration_since(since));
                *bytes += first;
                self.queued_bytes -= first as u64;
                if !rest.is_empty() {
                    self.lanes.push_bulk_on_credit(call_id, rest);
                }
                Some(CallFrame { call_id, kind: Some(call_frame::Kind::Call(call)) })
            }
        }
    }

    /// Whether so many bytes more are too many.
    pub(super) fn is_full(&self, bytes: u64) -> bool {
        self.lanes.len() >= limits::LINK_QUEUE_FRAMES || self.queued_bytes + bytes > limits::LINK_QUEUE_BYTES
    }

    /// Drops what is unsent of a call and tells the holder that it is not wanted.
    pub(super) fn tell_cancel(&mut self, call_id: u64, cancel: CancelForward) {
        self.queued_bytes -= self.lanes.drop_bulk(call_id);
        self.lanes.push_control(CallFrame { call_id, kind: Some(call_frame::Kind::Cancel(cancel)) });
    }

    /// The writer's, if there is something to write.
    pub(super) fn waker_if_due(&mut self) -> Option<Waker> {
        if self.lanes.is_empty() { None } else { self.waker.take() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Awaited,
    Late,
    /// The holder has picked a device for a call that goes on.
    Picked,
}
