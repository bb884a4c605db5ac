//! How much longer than others a packet was on its way. The clocks of two nodes have no zero in common; how far they are
//! apart is known, up to the time that the fastest packet takes.

use std::time::Duration;

use tokio::time::Instant;

/// For so long at least, and twice as long at most, the fastest packet is remembered: clocks drift.
const MEMORY: Duration = Duration::from_secs(60);
/// Four readings of clocks in whole milliseconds make a packet look later than it is by less than this.
const ROUNDING_MS: u64 = 2;

/// What the packets of one link have shown.
#[derive(Debug)]
pub(crate) struct Transit {
    zero: Instant,
    /// The least difference of the clocks that was seen, in milliseconds, since `since` and in the time before.
    least: [Option<i64>; 2],
    since: Instant,
}

impl Transit {
    /// Of a link that has shown nothing yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { zero: now, least: [None; 2], since: now }
    }

    /// When a packet would have come if it had been as fast as the fastest. `made_at_ms`: by its sender's clock; 0: not said.
    pub(crate) fn due(&mut self, made_at_ms: u64, now: Instant) -> Instant {
        if made_at_ms == 0 {
            return now;
        }
        if now.saturating_duration_since(self.since) >= MEMORY {
            (self.least, self.since) = ([None, self.least[0]], now);
        }
        let here = millis(now.saturating_duration_since(self.zero));
        let apart = here.saturating_sub(i64::try_from(made_at_ms).unwrap_or(i64::MAX));
        let least = self.least.iter().flatten().fold(apart, |least, seen| least.min(*seen));
        self.least[0] = Some(self.least[0].map_or(apart, |seen| seen.min(apart)));
        let late = u64::try_from(apart.saturating_sub(least)).unwrap_or(0).saturating_sub(ROUNDING_MS);
        now.checked_sub(Duration::from_millis(late)).unwrap_or(now)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_packet_that_was_held_up_is_due_when_it_should_have_come() {
        let start = Instant::now();
        let mut transit = Transit::new(start);
        assert_eq!(transit.due(5_000, start + ms(10)), start + ms(10), "nothing to compare it with");
        assert_eq!(transit.due(5_100, start + ms(110)), start + ms(110));
        assert_eq!(transit.due(5_200, start + ms(2_212)), start + ms(212), "two seconds late, and rounding");
        assert_eq!(transit.due(0, start + ms(2_300)), start + ms(2_300), "nobody said");
    }

    #[test]
    fn a_way_that_has_become_longer_is_the_usual_one_after_a_while() {
        let start = Instant::now();
        let mut transit = Transit::new(start);
        transit.due(1, start);
        let mut late = Vec::new();
        for second in 1..=200 {
            let now = start + ms(second * 1_000 + 300);
            late.push(now - transit.due(second * 1_000, now));
        }
        assert_eq!(late[0], ms(299));
        assert_eq!(late[199], ms(0));
    }

    proptest! {
        #[test]
        fn no_more_is_deducted_than_the_delay(
            delays_us in prop::collection::vec(0..3_000_000_u64, 1..50), clock_us in 1_000..1_000_000_000_u64,
        ) {
            let us = Duration::from_micros;
            let start = Instant::now();
            let (mut transit, least) = (Transit::new(start), *delays_us.iter().min().unwrap_or(&0));
            for (turn, delay) in (0_u64..).zip(&delays_us) {
                let now = start + us(turn * 100_000 + delay);
                let late = now - transit.due((clock_us + turn * 100_000) / 1_000, now);
                prop_assert!(late <= us(delay - least), "{late:?} of {delay} with {least} at least");
            }
        }
    }
}
