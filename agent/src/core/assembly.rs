//! A call's payload that arrives in chunks.

use bytes::{Bytes, BytesMut};

/// The most that is set aside before the bytes have really come.
const FIRST_ROOM_BYTES: u64 = 1024 * 1024;

/// A payload of a known length, partly here.
#[derive(Debug)]
pub(crate) struct Assembly {
    whole: u64,
    parts: BytesMut,
}

/// The parts do not add up to the length that was announced.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mismatch;

impl Assembly {
    /// Begins with the first part of `whole` bytes.
    pub(crate) fn new(first: &Bytes, whole: u64) -> Self {
        let mut parts = BytesMut::with_capacity(whole.min(FIRST_ROOM_BYTES) as usize);
        parts.extend_from_slice(first);
        Self { whole, parts }
    }

    /// Adds a part. The payload, once it is whole.
    pub(crate) fn add(&mut self, data: &Bytes, last: bool) -> Result<Option<Bytes>, Mismatch> {
        let length = self.parts.len() as u64 + data.len() as u64;
        if length > self.whole || (length == self.whole) != last {
            return Err(Mismatch);
        }
        self.parts.extend_from_slice(data);
        Ok(last.then(|| std::mem::take(&mut self.parts).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_become_the_whole() {
        let mut assembly = Assembly::new(&Bytes::from_static(b"ab"), 5);
        assert_eq!(assembly.add(&Bytes::from_static(b"cd"), false), Ok(None));
        assert_eq!(assembly.add(&Bytes::from_static(b"e"), true), Ok(Some(Bytes::from_static(b"abcde"))));
    }

    #[test]
    fn a_length_that_does_not_add_up_is_a_mismatch() {
        let part = Bytes::from_static(b"cd");
        assert_eq!(Assembly::new(&part, 3).add(&part, true), Err(Mismatch));
        assert_eq!(Assembly::new(&part, 5).add(&part, true), Err(Mismatch));
        assert_eq!(Assembly::new(&part, 4).add(&part, false), Err(Mismatch));
    }
}
