//! The order of frames on one stream: control first, then small frames and chunks of large payloads by turns.
//!
//! Chunks are cut when the transport comes for them: a payload that waits costs no more than the payload. Credits of
//! the receiver will limit each [`Bulk`] here.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{limits::SMALL_FRAMES_PER_CHUNK, payload::Payload};

/// What waits for one stream: `U` control frames, `S` small ones, `K` names a large payload's call.
#[derive(Debug)]
pub(crate) struct Lanes<U, S, K> {
    control: VecDeque<U>,
    small: VecDeque<S>,
    bulk: VecDeque<Bulk<K>>,
    small_since_chunk: u32,
    chunk_bytes: usize,
}

#[derive(Debug)]
struct Bulk<K> {
    key: K,
    rest: Payload,
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

impl<U, S, K: Copy + PartialEq> Lanes<U, S, K> {
    pub(crate) fn new(chunk_bytes: usize) -> Self {
        Self {
            control: VecDeque::new(),
            small: VecDeque::new(),
            bulk: VecDeque::new(),
            small_since_chunk: 0,
            chunk_bytes,
        }
    }

    pub(crate) fn control_len(&self) -> usize {
        self.control.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.control.len() + self.small.len() + self.bulk.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn push_control(&mut self, frame: U) {
        self.control.push_back(frame);
    }

    pub(crate) fn push_small(&mut self, frame: S) {
        self.small.push_back(frame);
    }

    /// The rest of a payload whose first part has just been written or queued before it.
    pub(crate) fn push_bulk(&mut self, key: K, rest: Payload) {
        self.bulk.push_back(Bulk { key, rest });
    }

    /// Forgets the rest of a payload: its call is over. Returns how many bytes that were.
    pub(crate) fn drop_bulk(&mut self, key: K) -> u64 {
        let mut dropped = 0;
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
    }

    /// Forgets all but control frames.
    pub(crate) fn clear_calls(&mut self) {
        self.small.clear();
        self.bulk.clear();
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
        let data = bulk.rest.take(self.chunk_bytes);
        let (key, last) = (bulk.key, bulk.rest.is_empty());
        if !last {
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
    fn control_goes_first() {
        let mut lanes = Lanes::<char, u32, ()>::new(10);
        lanes.push_small(1);
        lanes.push_control('x');
        assert_eq!(lanes.next(), Some(Next::Control('x')));
        assert_eq!(lanes.next(), Some(Next::Small(1)));
        assert_eq!(lanes.next(), None);
    }
}
