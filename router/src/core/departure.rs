//! When those who are to leave a node go: one after the other, each at some moment of its own turn, so that the nodes
//! that take them are not met by all at once.

use std::time::Duration;

/// The turns of those who leave.
#[derive(Debug, Clone)]
pub(crate) struct Departure {
    /// How long a device's turn is.
    turn: Duration,
    /// When the next turn begins.
    next: Duration,
}

impl Departure {
    /// Turns at a rate.
    pub(crate) fn at_rate(per_second: u32) -> Self {
        Self { turn: Duration::from_secs(1) / per_second.max(1), next: Duration::ZERO }
    }

    /// Turns for this many devices: so many a second, or more if all are to be gone `within` a time.
    pub(crate) fn within(within: Duration, devices: usize, per_second: u32) -> Self {
        let by_time = within.div_f64(devices.max(1) as f64);
        let Self { turn, next } = Self::at_rate(per_second);
        Self { turn: turn.min(by_time), next }
    }

    /// When a connection with this many devices goes. `jitter` is a random number from 0 to 1.
    pub(crate) fn next(&mut self, devices: usize, jitter: f64) -> Duration {
        let turns = self.turn.mul_f64(devices as f64);
        let at = self.next + turns.mul_f64(jitter.clamp(0.0, 1.0));
        self.next += turns;
        at
    }

    /// When the last one has gone.
    pub(crate) fn end(&self) -> Duration {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn devices_go_at_the_rate_and_faster_only_where_time_is_short() {
        let at = |devices, per_second, within| {
            let mut departure = Departure::within(Duration::from_secs(within), devices, per_second);
            (0..devices).map(|_| departure.next(1, 1.0).as_millis()).collect::<Vec<_>>()
        };
        assert_eq!(at(4, 2, 60), [500, 1_000, 1_500, 2_000]);
        assert_eq!(at(4, 2, 1), [250, 500, 750, 1_000]);
    }

    proptest! {
        #[test]
        fn each_goes_in_its_own_turn_and_all_within_the_time(
            connections in prop::collection::vec((0..300usize, 0.0..=1.0f64), 1..100),
            per_second in 0..5_000u32,
            within_ms in 0..100_000u64,
        ) {
            let within = Duration::from_millis(within_ms);
            let devices: usize = connections.iter().map(|(devices, _)| devices).sum();
            let mut departure = Departure::within(within, devices, per_second);
            let mut before = Duration::ZERO;
            for (carried, jitter) in connections {
                let begins = departure.end();
                let at = departure.next(carried, jitter);
                prop_assert!(begins <= at && at <= departure.end() && at >= before);
                before = at;
            }
            // Fractions of a nanosecond are rounded, for each device.
            prop_assert!(departure.end() <= within + Duration::from_nanos(devices as u64 + 1));
        }
    }
}
