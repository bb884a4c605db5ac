//! A payload in parts: what came in chunks is passed on in chunks, and joined only where a caller needs one piece.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// A payload, in one part or several. Parts are never copied until [`Self::into_bytes`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Payload {
    first: Bytes,
    rest: VecDeque<Bytes>,
    len: u64,
}

impl Payload {
    /// Its length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its parts, in order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&self.first).chain(&self.rest).map(|part| &part[..])
    }

    /// Appends a part.
    pub(crate) fn push(&mut self, part: Bytes) {
        self.len += part.len() as u64;
        if self.len == part.len() as u64 {
            self.first = part;
        } else if !part.is_empty() {
            self.rest.push_back(part);
        }
    }

    /// Takes the next part off the front, at most `limit` bytes long; empty when nothing is left.
    pub(crate) fn take(&mut self, limit: usize) -> Bytes {
        let part = self.first.split_to(self.first.len().min(limit));
        self.len -= part.len() as u64;
        if self.first.is_empty() {
            self.first = self.rest.pop_front().unwrap_or_default();
        }
        part
    }

    /// All of it in one piece: free if it is in one part, a copy otherwise.
    pub(crate) fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() {
            return self.first;
        }
        let mut whole = BytesMut::with_capacity(self.len as usize);
        whole.extend_from_slice(&self.first);
        for part in &self.rest {
            whole.extend_from_slice(part);
        }
        whole.freeze()
    }
}

impl From<Bytes> for Payload {
    fn from(first: Bytes) -> Self {
        Self { len: first.len() as u64, first, rest: VecDeque::new() }
    }
}

/// A payload that is still arriving.
#[derive(Debug)]
pub(crate) struct Assembly {
    payload: Payload,
    expected: u64,
}

/// What a further part does to an [`Assembly`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Assembled {
    /// More is to come.
    Partly,
    /// That was all.
    Whole,
    /// The parts do not add up to the length that was announced.
    Mismatch,
}

impl Assembly {
    /// Starts with the first part of a payload of `expected` bytes.
    pub(crate) fn new(first: Bytes, expected: u64) -> Self {
        Self { payload: first.into(), expected }
    }

    /// Appends a part.
    pub(crate) fn push(&mut self, part: Bytes, last: bool) -> Assembled {
        self.payload.push(part);
        match self.payload.len().cmp(&self.expected) {
            std::cmp::Ordering::Less if !last => Assembled::Partly,
            std::cmp::Ordering::Equal if last => Assembled::Whole,
            _ => Assembled::Mismatch,
        }
    }

    /// What has arrived.
    pub(crate) fn into_payload(self) -> Payload {
        self.payload
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_put_together_are_the_whole(data: Vec<u8>, cuts in 1..40usize, limit in 1..40usize) {
            let mut payload = Payload::default();
            for part in data.chunks(cuts) {
                payload.push(Bytes::copy_from_slice(part));
            }
            prop_assert_eq!(payload.clone().into_bytes(), &data[..]);
            let mut taken = Vec::new();
            while !payload.is_empty() {
                let part = payload.take(limit);
                prop_assert!(!part.is_empty() && part.len() <= limit);
                taken.extend_from_slice(&part);
            }
            prop_assert_eq!(taken, data);
        }
    }

    #[test]
    fn an_assembly_ends_exactly_at_its_announced_length() {
        let part = || Bytes::from_static(b"abc");
        let mut assembly = Assembly::new(part(), 9);
        assert_eq!(assembly.push(part(), false), Assembled::Partly);
        assert_eq!(assembly.push(part(), true), Assembled::Whole);
        assert_eq!(Assembly::new(part(), 9).push(part(), true), Assembled::Mismatch);
        assert_eq!(Assembly::new(part(), 6).push(part(), false), Assembled::Mismatch);
        assert_eq!(Assembly::new(part(), 5).push(part(), true), Assembled::Mismatch);
    }
}
