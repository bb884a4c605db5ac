//! What waits for one connection, in the order in which the transport takes it: small frames first, results in chunks.
//!
//! The transport pulls: it owns the [`Outbox`], so that a connection that takes nothing costs no one a wait.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hashbrown::HashMap;
use rollcall_proto::device::{self as wire, AttachRequest, attach_request::Frame};
use tokio::sync::mpsc;
use tokio_stream::Stream;

use crate::{core::CallId, limits};

/// Something to be sent.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A small frame.
    Frame(Box<AttachRequest>),
    /// A result on a slot; the call is reported once its last part was taken.
    Result(u32, Option<CallId>, Box<wire::Result>),
    /// From now on, chunks have at most this many bytes.
    ChunkBytes(usize),
    /// From now on, all but the first part of a long result waits for credit.
    WaitForCredit,
    /// So many bytes more may go of the result of this tag on this slot.
    Credit(u32, u64, u64),
    /// Nothing more goes of the long results on a slot.
    Discard(u32),
}

/// The rest of a result.
#[derive(Debug)]
struct Bulk {
    slot: u32,
    tag: u64,
    call: Option<CallId>,
    /// The frame with the first part, until it is sent.
    first: Option<Box<wire::Result>>,
    rest: Bytes,
    /// How much of the rest may go.
    credit: u64,
}

/// The order of what waits. Pure.
#[derive(Debug)]
pub(crate) struct Queue {
    small: VecDeque<(AttachRequest, Option<CallId>)>,
    bulk: VecDeque<Bulk>,
    /// Those that wait for credit, by slot and tag.
    stopped: HashMap<(u32, u64), Bulk>,
    /// What the rest of a long result may send unasked.
    free: u64,
    /// Replayed results have no tag of their own, so that only one of them may be under way on a slot.
    replays: VecDeque<(u32, Box<wire::Result>)>,
    chunk_bytes: usize,
    small_in_a_row: u32,
}

impl Queue {
    /// Nothing waits.
    pub(crate) fn new() -> Self {
        Self {
            small: VecDeque::new(),
            bulk: VecDeque::new(),
            stopped: HashMap::new(),
            free: u64::MAX,
            replays: VecDeque::new(),
            chunk_bytes: limits::CHUNK_BYTES,
            small_in_a_row: 0,
        }
    }

    /// Adds something. A long result goes out as a first part with its length, then in chunks.
    pub(crate) fn push(&mut self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Frame(frame) => self.small.push_back((*frame, None)),
            Outgoing::ChunkBytes(bytes) => self.chunk_bytes = bytes.max(1),
            Outgoing::WaitForCredit => self.free = 0,
            Outgoing::Credit(slot, tag, bytes) => self.credit((slot, tag), bytes),
            Outgoing::Discard(slot) => self.discard(slot),
            Outgoing::Result(slot, None, result) if result.payload.len() > self.chunk_bytes => {
                self.replays.push_back((slot, result));
                self.next_replay();
            }
            Outgoing::Result(slot, call, result) => self.result(slot, call, result),
        }
    }

    fn result(&mut self, slot: u32, call: Option<CallId>, mut result: Box<wire::Result>) {
        if result.payload.len() > self.chunk_bytes {
            let rest = result.payload.split_off(self.chunk_bytes);
            let (tag, credit) = (result.tag, self.free);
            self.bulk.push_back(Bulk { slot, tag, call, first: Some(result), rest, credit });
        } else {
            self.small.push_back((AttachRequest { slot, frame: Some(Frame::Result(result)) }, call));
        }
    }

    fn next_replay(&mut self) {
        let mut under_way = self.bulk.iter().chain(self.stopped.values());
        if under_way.all(|bulk| bulk.call.is_some())
            && let Some((slot, result)) = self.replays.pop_front()
        {
            self.result(slot, None, result);
        }
    }

    /// The node has room. Nothing happens if nothing waits for it.
    fn credit(&mut self, of: (u32, u64), bytes: u64) {
        if let Some(bulk) = self.stopped.remove(&of) {
            self.bulk.push_back(Bulk { credit: bytes, ..bulk });
        } else if let Some(bulk) = self.bulk.iter_mut().find(|bulk| (bulk.slot, bulk.tag) == of) {
            bulk.credit = bulk.credit.saturating_add(bytes);
        }
    }

    fn discard(&mut self, slot: u32) {
        self.bulk.retain(|bulk| bulk.slot != slot);
        self.stopped.retain(|(of, _), _| *of != slot);
        self.replays.retain(|(of, _)| *of != slot);
        self.next_replay();
    }

    /// The next frame, and the call whose result it completes.
    ///
    /// Small frames go first, but after some of them a part of a long result has its turn; long results take turns
    /// among each other.
    pub(crate) fn next(&mut self) -> Option<(AttachRequest, Option<CallId>)> {
        let chunks_turn = !self.bulk.is_empty() && self.small_in_a_row >= limits::SMALL_FRAMES_PER_CHUNK;
        if !chunks_turn && let Some(next) = self.small.pop_front() {
            self.small_in_a_row += 1;
            return Some(next);
        }
        self.small_in_a_row = 0;
        self.next_chunk().or_else(|| self.small.pop_front())
    }

    fn next_chunk(&mut self) -> Option<(AttachRequest, Option<CallId>)> {
        let mut bulk = self.bulk.pop_front()?;
        let (slot, call) = (bulk.slot, bulk.call);
        if let Some(first) = bulk.first.take() {
            self.go_on(bulk);
            return Some((AttachRequest { slot, frame: Some(Frame::Result(first)) }, None));
        }
        let most = usize::try_from(bulk.credit).unwrap_or(usize::MAX).min(self.chunk_bytes);
        let data = bulk.rest.split_to(bulk.rest.len().min(most));
        bulk.credit -= data.len() as u64;
        let last = bulk.rest.is_empty();
        let frame =
            AttachRequest { slot, frame: Some(Frame::Chunk(wire::Chunk { tag: bulk.tag, data, last })) };
        if last {
            self.next_replay();
        } else {
            self.go_on(bulk);
        }
        Some((frame, call.filter(|_| last)))
    }

    /// A result has its next turn, or waits for credit.
    fn go_on(&mut self, bulk: Bulk) {
        if bulk.credit > 0 {
            self.bulk.push_back(bulk);
        } else {
            self.stopped.insert((bulk.slot, bulk.tag), bulk);
        }
    }
}

/// The stream of frames that the transport sends. It ends once its sender is gone and everything was taken.
#[derive(Debug)]
pub(crate) struct Outbox {
    incoming: mpsc::Receiver<Outgoing>,
    queue: Queue,
    /// Unbounded, but never longer than the table of calls.
    written: mpsc::UnboundedSender<CallId>,
}

impl Outbox {
    /// An outbox that sends what comes from `incoming` and reports completed results to `written`.
    pub(crate) fn new(incoming: mpsc::Receiver<Outgoing>, written: mpsc::UnboundedSender<CallId>) -> Self {
        Self { incoming, queue: Queue::new(), written }
    }
}

impl Stream for Outbox {
    type Item = AttachRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<AttachRequest>> {
        // While frames wait, what comes meanwhile is looked at once they have gone.
        let ended = self.queue.small.is_empty()
            && loop {
                match self.incoming.poll_recv(cx) {
                    Poll::Ready(Some(outgoing)) => self.queue.push(outgoing),
                    Poll::Ready(None) => break true,
                    Poll::Pending => break false,
                }
            };
        let Some((frame, call)) = self.queue.next() else {
            return if ended { Poll::Ready(None) } else { Poll::Pending };
        };
        if let Some(call) = call {
            // Nobody listens any more only when the agent itself is gone.
            let _ = self.written.send(call);
        }
        Poll::Ready(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn result(tag: u64, bytes: usize) -> Outgoing {
        let payload: Bytes = (0..bytes).map(|n| (n + tag as usize) as u8).collect();
        let result = wire::Result { tag, payload_bytes: bytes as u64, payload, ..wire::Result::default() };
        Outgoing::Result(1, (tag != 0).then_some(CallId(tag)), Box::new(result))
    }

    fn pong() -> Outgoing {
        Outgoing::Frame(Box::new(AttachRequest {
            slot: 0,
            frame: Some(Frame::Pong(wire::Pong { number: 1 })),
        }))
    }

    /// The frames as letters: `p`ong, `r`esult, `c`hunk, `l`ast chunk, each with its tag.
    fn drain(queue: &mut Queue) -> String {
        let mut text = String::new();
        while let Some((frame, done)) = queue.next() {
            match frame.frame {
                Some(Frame::Pong(_)) => text.push('p'),
                Some(Frame::Result(result)) => text.push_str(&format!("r{}", result.tag)),
                Some(Frame::Chunk(chunk)) => {
                    text.push_str(&format!("{}{}", if chunk.last { 'l' } else { 'c' }, chunk.tag));
                }
                other => panic!("{other:?}"),
            }
            text.push_str(if done.is_some() { "! " } else { " " });
        }
        text
    }

    #[test]
    fn results_in_chunks_take_turns_and_small_frames_overtake_them() {
        let mut queue = Queue::new();
        queue.push(Outgoing::ChunkBytes(10));
        queue.push(result(1, 35));
        queue.push(result(2, 20));
        queue.push(pong());
        queue.push(result(3, 5));
        assert_eq!(drain(&mut queue), "p r3! r1 r2 c1 l2! c1 l1! ");
    }

    #[test]
    fn a_flood_of_small_frames_does_not_starve_a_chunk() {
        let mut queue = Queue::new();
        queue.push(Outgoing::ChunkBytes(10));
        queue.push(result(1, 20));
        (0..40).for_each(|_| queue.push(pong()));
        let flood = "p ".repeat(16);
        assert_eq!(drain(&mut queue), format!("{flood}r1 {flood}l1! {}", "p ".repeat(8)));
    }

    #[test]
    fn of_replayed_results_only_one_is_in_chunks_at_a_time() {
        let mut queue = Queue::new();
        queue.push(Outgoing::ChunkBytes(10));
        queue.push(result(0, 20));
        queue.push(result(0, 20));
        assert_eq!(drain(&mut queue), "r0 l0 r0 l0 ");
    }

    #[test]
    fn a_result_without_credit_waits_and_stops_nobody_else() {
        let mut queue = Queue::new();
        queue.push(Outgoing::ChunkBytes(10));
        queue.push(Outgoing::WaitForCredit);
        queue.push(result(1, 35));
        queue.push(result(2, 20));
        queue.push(result(3, 10));
        assert_eq!(drain(&mut queue), "r3! r1 r2 ");
        queue.push(Outgoing::Credit(1, 2, 10));
        queue.push(pong());
        assert_eq!(drain(&mut queue), "p l2! ");
        queue.push(Outgoing::Credit(1, 1, 15));
        assert_eq!(drain(&mut queue), "c1 c1 ");
        queue.push(Outgoing::Credit(1, 1, 10));
        queue.push(Outgoing::Credit(1, 9, 10));
        assert_eq!(drain(&mut queue), "l1! ");
    }

    #[test]
    fn nothing_goes_on_a_slot_that_is_over() {
        let mut queue = Queue::new();
        queue.push(Outgoing::ChunkBytes(10));
        queue.push(Outgoing::WaitForCredit);
        queue.push(result(0, 20));
        queue.push(result(0, 20));
        queue.push(result(1, 20));
        assert_eq!(drain(&mut queue), "r0 r1 ");
        queue.push(Outgoing::Credit(1, 1, 10));
        queue.push(Outgoing::Discard(1));
        queue.push(Outgoing::Credit(1, 0, 10));
        assert_eq!(drain(&mut queue), "");
        queue.push(result(1, 20));
        assert_eq!(drain(&mut queue), "r1 ");
    }

    proptest! {
        #[test]
        fn every_payload_arrives_whole_and_in_order(
            sizes in prop::collection::vec(0usize..90, 1..12),
            chunk in 1usize..20,
            credit in prop::option::of(1u64..30),
        ) {
            let mut queue = Queue::new();
            queue.push(Outgoing::ChunkBytes(chunk));
            if credit.is_some() {
                queue.push(Outgoing::WaitForCredit);
            }
            for (tag, size) in sizes.iter().enumerate() {
                queue.push(result(tag as u64 + 1, *size));
            }
            let mut got = vec![Vec::new(); sizes.len()];
            let mut done = 0;
            while let Some((frame, call)) = queue.next() {
                let (tag, data) = match frame.frame {
                    Some(Frame::Result(result)) => (result.tag, result.payload),
                    Some(Frame::Chunk(chunk)) => (chunk.tag, chunk.data),
                    other => panic!("{other:?}"),
                };
                if let Some(bytes) = credit {
                    queue.push(Outgoing::Credit(1, tag, bytes));
                }
                prop_assert!(data.len() <= chunk);
                got[tag as usize - 1].extend_from_slice(&data);
                done += usize::from(call.is_some());
            }
            prop_assert_eq!(done, sizes.len());
            for (index, size) in sizes.iter().enumerate() {
                let whole: Vec<u8> = (0..*size).map(|n| (n + index + 1) as u8).collect();
                prop_assert_eq!(&got[index], &whole);
            }
        }
    }
}
