//! Room for calls' payloads that arrive in chunks: which of them may come, so that what is half here stays within a bound.
//!
//! A payload gets room for all of itself or waits for it, in the order of asking: whatever was begun can be finished.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::input::CallId;

/// Room for payloads, in bytes.
#[derive(Debug)]
pub(crate) struct Room {
    limit: u64,
    taken: u64,
    placed: HashMap<CallId, u64>,
    waiting: VecDeque<(CallId, u64)>,
}

impl Room {
    /// All of it is free.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, taken: 0, placed: HashMap::new(), waiting: VecDeque::new() }
    }

    /// A call's payload needs so much more. [`Self::next`] names it in its turn.
    pub(crate) fn ask(&mut self, call: CallId, bytes: u64) {
        self.waiting.push_back((call, bytes));
    }

    /// A payload is whole, or is not wanted any more.
    pub(crate) fn end(&mut self, call: CallId) {
        match self.placed.remove(&call) {
            Some(bytes) => self.taken -= bytes,
            None => self.waiting.retain(|(waiting, _)| *waiting != call),
        }
    }

    /// The next payload that now has its room; one that is larger than all the room has it alone.
    pub(crate) fn next(&mut self) -> Option<(CallId, u64)> {
        let (call, bytes) = *self.waiting.front()?;
        if self.taken > 0 && self.taken + bytes > self.limit {
            return None;
        }
        self.taken += bytes;
        self.placed.insert(call, bytes);
        self.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn everybody_gets_room_and_the_bound_holds(
            sizes in prop::collection::vec((1..30u64, any::<bool>()), 1..40),
        ) {
            let mut room = Room::new(20);
            let mut wanted = Vec::new();
            for (call, (bytes, given_up)) in (1..).zip(sizes) {
                room.ask(CallId(call), bytes);
                if given_up {
                    room.end(CallId(call));
                } else {
                    wanted.push(CallId(call));
                }
            }
            let mut served = Vec::new();
            while let Some((call, _)) = room.next() {
                prop_assert!(room.taken <= 20 || room.placed.len() == 1);
                served.push(call);
                if room.waiting.front().is_some_and(|(_, bytes)| room.taken + bytes > 20) {
                    room.placed.keys().copied().collect::<Vec<_>>().into_iter().for_each(|call| room.end(call));
                }
            }
            prop_assert_eq!(served, wanted);
        }
    }
}
