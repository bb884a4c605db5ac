//! Calls whose handlers have run not long ago, by their tokens alone: what a returning device must not pass over in silence,
//! because a node takes what it does not name for never begun.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use crate::limits;

/// The calls of all devices, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Past {
    calls: VecDeque<(usize, Bytes, Duration)>,
    /// Until when calls may be waited for that were forgotten for room.
    incomplete_until: Duration,
}

impl Past {
    /// A handler has run; until then its caller may wait for the answer. At the bound the oldest is forgotten, and the
    /// lists are incomplete for as long as it might have been waited for.
    pub(crate) fn add(&mut self, device: usize, token: Bytes, until: Duration) {
        if token.is_empty() {
            return;
        }
        self.calls.push_back((device, token, until));
        if self.calls.len() > limits::PAST_CALLS
            && let Some((_, _, until)) = self.calls.pop_front()
        {
            self.incomplete_until = self.incomplete_until.max(until);
        }
    }

    /// Forgets what nobody waits for any more.
    pub(crate) fn expire(&mut self, now: Duration) {
        while self.calls.front().is_some_and(|(_, _, until)| *until <= now) {
            self.calls.pop_front();
        }
    }

    /// Whether it holds every call that may still be waited for.
    pub(crate) fn is_complete(&self, now: Duration) -> bool {
        self.incomplete_until <= now
    }

    /// A device's calls.
    pub(crate) fn tokens(&self, device: usize) -> impl Iterator<Item = &Bytes> {
        self.calls.iter().filter(move |(owner, _, _)| *owner == device).map(|(_, token, _)| token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_forgotten_for_room_makes_the_lists_incomplete_for_a_while() {
        let mut past = Past::default();
        let second = Duration::from_secs;
        for call in 0..=limits::PAST_CALLS {
            assert!(past.is_complete(second(0)));
            past.add(call % 2, Bytes::from(call.to_be_bytes().to_vec()), second(30));
        }
        assert!(!past.is_complete(second(29)) && past.is_complete(second(30)));
        assert_eq!(past.tokens(0).count() + past.tokens(1).count(), limits::PAST_CALLS);
        past.expire(second(30));
        assert_eq!(past.tokens(1).count(), 0);
    }

    #[test]
    fn a_call_without_a_token_cannot_be_named() {
        let mut past = Past::default();
        past.add(0, Bytes::new(), Duration::MAX);
        assert_eq!(past.tokens(0).count(), 0);
    }
}
