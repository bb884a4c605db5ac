//! Room for payloads that arrive in chunks: who may send how much, so that what is half received stays within a bound.
//!
//! A payload gets room for all of itself or waits for it, in the order of asking: whatever was begun can be finished.

use std::collections::VecDeque;

/// Room for payloads, in bytes; `K` names a payload.
#[derive(Debug)]
pub(crate) struct Room<K> {
    limit: u64,
    taken: u64,
    waiting: VecDeque<(K, u64)>,
}

impl<K: Copy + Eq> Room<K> {
    /// All of it is free.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, taken: 0, waiting: VecDeque::new() }
    }

    /// A call's payload needs so much more. Whether it has it at once; otherwise [`Self::next`] names it in its turn.
    pub(crate) fn ask(&mut self, call: K, bytes: u64) -> bool {
        let fits = self.waiting.is_empty() && self.fits(bytes);
        if fits {
            self.taken += bytes;
        } else {
            self.waiting.push_back((call, bytes));
        }
        fits
    }

    /// A payload takes its room unasked, because its sender does not wait. Whether there was room for it.
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        let fits = self.fits(bytes);
        if fits {
            self.taken += bytes;
        }
        fits
    }

    /// Whether a payload waits for room.
    pub(crate) fn is_waiting(&self, call: K) -> bool {
        self.waiting.iter().any(|(waiting, _)| *waiting == call)
    }

    /// A payload that had room has arrived, or is not wanted any more.
    pub(crate) fn free(&mut self, bytes: u64) {
        self.taken -= bytes.min(self.taken);
    }

    /// A payload that waits is not wanted any more.
    pub(crate) fn forget(&mut self, call: K) {
        self.waiting.retain(|(waiting, _)| *waiting != call);
    }

    /// The next payload that now has its room: to be asked again until `None`, after each [`Self::free`] and
    /// [`Self::forget`].
    pub(crate) fn next(&mut self) -> Option<(K, u64)> {
        let (_, bytes) = *self.waiting.front()?;
        if !self.fits(bytes) {
            return None;
        }
        self.taken += bytes;
        self.waiting.pop_front()
    }

    /// One that is larger than all the room has it alone.
    fn fits(&self, bytes: u64) -> bool {
        self.taken == 0 || self.taken + bytes <= self.limit
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whoever_waits_is_not_overtaken_by_a_smaller_one() {
        let mut room = Room::new(10);
        assert!(room.ask(1, 8));
        assert!(!room.ask(2, 8));
        assert!(!room.ask(3, 1));
        assert_eq!(room.next(), None);
        room.free(8);
        assert_eq!((room.next(), room.next(), room.next()), (Some((2, 8)), Some((3, 1)), None));
    }

    #[test]
    fn one_that_is_too_large_has_the_room_alone() {
        let mut room = Room::new(10);
        assert!(room.ask(1, 99));
        assert!(!room.ask(2, 1));
        room.free(99);
        assert_eq!(room.next(), Some((2, 1)));
    }

    #[test]
    fn one_that_gave_up_does_not_block_the_others() {
        let mut room = Room::new(10);
        assert!(room.ask(1, 5));
        assert!(!room.ask(2, 9));
        assert!(!room.ask(3, 5));
        room.forget(2);
        assert_eq!(room.next(), Some((3, 5)));
    }

    proptest! {
        #[test]
        fn everybody_gets_room_and_the_bound_holds(sizes in prop::collection::vec(1..30u64, 1..40)) {
            let mut room = Room::new(20);
            let mut holding: VecDeque<u64> = VecDeque::new();
            let mut served = 0;
            for (call, bytes) in sizes.iter().enumerate() {
                if room.ask(call as u64, *bytes) {
                    holding.push_back(*bytes);
                    served += 1;
                }
            }
            while let Some(done) = holding.pop_front() {
                room.free(done);
                while let Some((_, bytes)) = room.next() {
                    holding.push_back(bytes);
                    served += 1;
                }
                let taken: u64 = holding.iter().sum();
                prop_assert_eq!(taken, room.taken);
                prop_assert!(taken <= 20 || holding.len() == 1);
            }
            prop_assert_eq!(served, sizes.len());
        }
    }
}
