//! How much of its capacity a device gets that has just come back: a tenth at first, all of it in the end.
//!
//! "A phone that comes back gets the whole backlog and dies again": its share of a group's calls, the calls that it
//! runs at once and those that may wait for it rise together, linearly (as Envoy's slow start does by default).

use tokio::time::Instant;

use crate::limits::{SLOW_START, SLOW_START_LEAST_PERCENT};

/// Since when a device is being led back; `None`: it has its full share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SlowStart {
    since: Option<Instant>,
}

impl SlowStart {
    /// The device has come back now.
    pub(crate) fn from(now: Instant) -> Self {
        Self { since: Some(now) }
    }

    /// The device's share, in percent of an equal one's.
    pub(crate) fn percent(self, now: Instant) -> u32 {
        let Some(since) = self.since else { return 100 };
        let elapsed = now.saturating_duration_since(since).as_millis();
        let risen = u32::try_from(elapsed * 100 / SLOW_START.as_millis()).unwrap_or(100);
        risen.clamp(SLOW_START_LEAST_PERCENT, 100)
    }

    /// That share of a number, rounded up: at least 1 of anything.
    pub(crate) fn of(self, whole: usize, now: Instant) -> usize {
        (whole * self.percent(now) as usize).div_ceil(100)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_never_was_away_has_its_full_share() {
        assert_eq!(SlowStart::default().of(7, Instant::now()), 7);
    }

    proptest! {
        #[test]
        fn a_share_only_rises_starts_low_and_ends_full(whole in 0..100_000usize, early: u16, later: u16) {
            let now = Instant::now();
            let start = SlowStart::from(now);
            let at = |ms: u64| start.of(whole, now + Duration::from_millis(ms));
            prop_assert_eq!(at(0), whole.div_ceil(10));
            prop_assert!(at(u64::from(early)) <= at(u64::from(early) + u64::from(later)));
            prop_assert_eq!(start.of(whole, now + SLOW_START), whole);
        }
    }
}
