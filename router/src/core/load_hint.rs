//! What is believed of a peer's devices of one group: what it last said, and what was sent there since.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::LOAD_HINT_FRESH;

/// The load of a peer's devices of one group, as this node believes it.
#[derive(Debug, Default)]
pub(crate) struct LoadHint {
    said: Option<(u64, Instant)>,
    sent_since: u64,
    outstanding: u64,
}

impl LoadHint {
    /// A call goes there.
    pub(crate) fn sent(&mut self) {
        self.outstanding += 1;
        self.sent_since += 1;
    }

    /// A call that went there is over.
    pub(crate) fn ended(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// The peer said how many calls its devices of the group have, from whichever node.
    pub(crate) fn heard(&mut self, calls: u64, now: Instant) {
        self.said = Some((calls, now));
        self.sent_since = 0;
    }

    /// Calls on the peer's devices of the group.
    ///
    /// What was said long ago says nothing: a peer that was full then must be tried again.
    pub(crate) fn estimate(&self, now: Instant) -> u64 {
        let fresh = |at: Instant| now.saturating_duration_since(at) < LOAD_HINT_FRESH;
        let said = self.said.filter(|(_, at)| fresh(*at)).map_or(0, |(calls, _)| calls + self.sent_since);
        said.max(self.outstanding)
    }

    /// Whether nothing would be lost by forgetting it.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        let age = |at: Instant| now.saturating_duration_since(at);
        self.outstanding == 0 && self.said.is_none_or(|(_, at)| age(at) > Duration::from_secs(60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_since_the_last_word_counts_on_top_of_it() {
        let now = Instant::now();
        let mut hint = LoadHint::default();
        hint.sent();
        hint.heard(5, now);
        hint.sent();
        assert_eq!(hint.estimate(now), 6);
        hint.ended();
        hint.heard(0, now);
        assert_eq!(hint.estimate(now), 1, "own calls are never forgotten");
    }

    #[test]
    fn an_old_word_counts_no_more() {
        let now = Instant::now();
        let mut hint = LoadHint::default();
        hint.heard(1_000, now);
        assert_eq!(hint.estimate(now + LOAD_HINT_FRESH / 2), 1_000);
        assert_eq!(hint.estimate(now + LOAD_HINT_FRESH), 0);
        assert!(!hint.is_idle(now) && hint.is_idle(now + Duration::from_secs(61)));
    }
}
