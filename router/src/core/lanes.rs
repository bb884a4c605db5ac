//! The order of frames on one stream: control first, then small frames and chunks of large payloads by turns.
//!
//! Chunks are cut when the transport comes for them: a payload that waits costs no more than the payload. A payload
//! that needs its receiver's credit waits aside until it has some, and stops nobody else.

use std::{collections::VecDeque, hash::Hash};

use bytes::Bytes;
use hashbrown::HashMap;

use crate::{limits::SMALL_FRAMES_PER_CHUNK, payload::Payload};

/// What waits for one stream: `U` control frames, `S` small ones, `K` names a large payload's call.
#[derive(Debug)]
pub(crate) struct Lanes<U, S, K> {
    control: VecDeque<U>,
    small: VecDeque<S>,
    bulk: VecDeque<Bulk<K>>,
    /// Large payloads without credit.
    stopped: HashMap<K, Payload>,
    small_since_chunk: u32,
    chunk_bytes: usize,
    flow: Flow,
}

/// How far large payloads go by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// To their end: only the transport holds them back.
    Free,
    /// As far as their receiver has given credit.
    OnCredit,
}

#[derive(Debug)]
struct Bulk<K> {
    key: K,
    rest: Payload,
    /// Bytes that may go.
    credit: u64,
}

/// The next thing to write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<U, S, K> {
    /// A control frame.
    Control(U),
    /// A small frame.
    Small(S),
    /// A part of a payload.
    Chunk {
        /// Whose.
        key: K,
        /// The part.
        data: Bytes,
        /// Whether it is the last one.
        last: bool,
    },
}

impl<U, S, K: Copy + Eq + Hash> Lanes<U, S, K> {
    pub(crate) fn new(chunk_bytes: usize) -> Self {
        Self {
            control: VecDeque::new(),
            small: VecDeque::new(),
            bulk: VecDeque::new(),
            stopped: HashMap::new(),
            small_since_chunk: 0,
            chunk_bytes,
            flow: Flow::Free,
        }
    }

    pub(crate) fn control_len(&self) -> usize {
        self.control.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.control.len() + self.small.len() + self.bulk.len() + self.stopped.len()
    }

    /// Whether nothing can go now.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == self.stopped.len()
    }

    pub(crate) fn push_control(&mut self, frame: U) {
        self.control.push_back(frame);
    }

    pub(crate) fn push_small(&mut self, frame: S) {
        self.small.push_back(frame);
    }

    /// From now on, large payloads flow so.
    pub(crate) fn set_flow(&mut self, flow: Flow) {
        self.flow = flow;
    }

    /// The rest of a payload whose first part has just been written or queued before it.
    pub(crate) fn push_bulk(&mut self, key: K, rest: Payload) {
        match self.flow {
            Flow::Free => self.bulk.push_back(Bulk { key, rest, credit: u64::MAX }),
            Flow::OnCredit => self.push_bulk_on_credit(key, rest),
        }
    }

    /// The same whatever the flow, for a payload that goes only as far as its receiver has given credit.
    pub(crate) fn push_bulk_on_credit(&mut self, key: K, rest: Payload) {
        self.stopped.insert(key, rest);
    }

    /// The receiver has room for more of a payload. Nothing happens if that has gone.
    pub(crate) fn credit(&mut self, key: K, bytes: u64) {
        if bytes == 0 {
            return;
        }
        if let Some(rest) = self.stopped.remove(&key) {
            self.bulk.push_back(Bulk { key, rest, credit: bytes });
        } else if let Some(bulk) = self.bulk.iter_mut().find(|bulk| bulk.key == key) {
            bulk.credit = bulk.credit.saturating_add(bytes);
        }
    }

    /// Forgets the rest of a payload: its call is over. Returns how many bytes that were.
    pub(crate) fn drop_bulk(&mut self, key: K) -> u64 {
        let mut dropped = self.stopped.remove(&key).map_or(0, |rest| rest.len());
        self.bulk.retain(|bulk| {
            let stays = bulk.key != key;
            dropped += if stays { 0 } else { bulk.rest.len() };
            stays
        });
        dropped
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.control.clear();
        self.small.clear();
        self.bulk.clear();
        self.stopped.clear();
    }

    /// Forgets all but control frames.
    pub(crate) fn clear_calls(&mut self) {
        self.small.clear();
        self.bulk.clear();
        self.stopped.clear();
    }

    pub(crate) fn next(&mut self) -> Option<Next<U, S, K>> {
        if let Some(frame) = self.control.pop_front() {
            return Some(Next::Control(frame));
        }
        let chunk_is_due = self.small.is_empty() || self.small_since_chunk >= SMALL_FRAMES_PER_CHUNK;
        if chunk_is_due && let Some(chunk) = self.next_chunk() {
            self.small_since_chunk = 0;
            return Some(chunk);
        }
        self.small_since_chunk = self.small_since_chunk.saturating_add(1);
        self.small.pop_front().map(Next::Small)
    }

    fn next_chunk(&mut self) -> Option<Next<U, S, K>> {
        let mut bulk = self.bulk.pop_front()?;
        let most = usize::try_from(bulk.credit).unwrap_or(usize::MAX).min(self.chunk_bytes);
        let data = bulk.rest.take(most);
        bulk.credit -= data.len() as u64;
        let (key, last) = (bulk.key, bulk.rest.is_empty());
        if !last && bulk.credit == 0 {
            self.stopped.insert(key, bulk.rest);
        } else if !last {
            self.bulk.push_back(bulk);
        }
        Some(Next::Chunk { key, data, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_payload_and_small_frames_take_turns() {
        let mut lanes = Lanes::<(), u32, char>::new(10);
        lanes.push_bulk('a', Bytes::from_static(&[0; 25]).into());
        lanes.push_bulk('b', Bytes::from_static(&[0; 5]).into());
        (0..SMALL_FRAMES_PER_CHUNK * 2).for_each(|number| lanes.push_small(number));
        let mut order = String::new();
        while let Some(next) = lanes.next() {
            match next {
                Next::Control(()) => order.push('!'),
                Next::Small(_) => order.push('.'),
                Next::Chunk { key, last, .. } => {
                    order.push(key);
                    order.push_str(if last { "|" } else { "" });
                }
            }
        }
        let dots = ".".repeat(SMALL_FRAMES_PER_CHUNK as usize);
        assert_eq!(order, format!("{dots}a{dots}b|aa|"));
    }

    #[test]
    fn a_payload_without_credit_stops_nobody_else() {
        let mut lanes = Lanes::<(), u32, char>::new(10);
        lanes.push_bulk_on_credit('a', Bytes::from_static(&[0; 25]).into());
        lanes.push_bulk_on_credit('b', Bytes::from_static(&[0; 25]).into());
        assert!(lanes.is_empty());
        lanes.push_small(1);
        assert_eq!(lanes.next(), Some(Next::Small(1)));
        assert_eq!(lanes.next(), None);
        let chunk = |key, bytes, last| Some(Next::Chunk { key, data: vec![0; bytes].into(), last });
        lanes.credit('b', 15);
        assert_eq!((lanes.next(), lanes.next()), (chunk('b', 10, false), chunk('b', 5, false)));
        assert_eq!(lanes.next(), None);
        lanes.credit('b', 99);
        lanes.credit('c', 99);
        assert_eq!((lanes.next(), lanes.next()), (chunk('b', 10, true), None));
        assert_eq!((lanes.drop_bulk('a'), lanes.drop_bulk('a')), (25, 0));
        lanes.credit('a', 99);
        assert_eq!(lanes.next(), None);
    }

    #[test]
    fn control_goes_first() {
        let mut lanes = Lanes::<char, u32, ()>::new(10);
        lanes.push_small(1);
        lanes.push_control('x');
        assert_eq!(lanes.next(), Some(Next::Control('x')));
        assert_eq!(lanes.next(), Some(Next::Small(1)));
        assert_eq!(lanes.next(), None);
    }
}
