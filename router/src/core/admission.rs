//! How many devices may attach, and when the others may come: a token bucket, and places in a queue of the future.
//!
//! Whoever is refused is given a time of its own, one after the other at the admitted rate: devices that were lost
//! together do not come back together. Devices with unfinished calls go first, then those that had a session.

use std::time::Duration;

use tokio::time::Instant;

use super::pressure::Work;
use crate::limits;

/// The gate of a node's attaches.
#[derive(Debug)]
pub(crate) struct Admission {
    per_second: f64,
    burst: f64,
    tokens: f64,
    counted: Instant,
    /// Until when times were given to those who were refused.
    booked: Instant,
}

impl Admission {
    /// A full bucket.
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second.max(1));
        let burst = per_second * limits::CONNECT_BURST.as_secs_f64();
        Self { per_second, burst, tokens: burst, counted: now, booked: now }
    }

    /// A device wants to attach to a node under this pressure. `jitter` is a random number from 0 to 1.
    ///
    /// # Errors
    /// When it may come again.
    pub(crate) fn admit(
        &mut self,
        work: Work,
        percent: u32,
        jitter: f64,
        now: Instant,
    ) -> Result<(), Duration> {
        let earned = now.saturating_duration_since(self.counted).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + earned).min(self.burst);
        self.counted = now;
        let kept_free = self.burst * Self::kept_free_for_better(work);
        if work.is_taken_at(percent) && self.tokens >= 1.0 + kept_free {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(self.book(jitter, now))
    }

    /// The part of the bucket that is kept for those who go first.
    fn kept_free_for_better(work: Work) -> f64 {
        match work {
            Work::Listing | Work::NewDevice => 0.25,
            Work::Returning => 0.125,
            Work::Unfinished | Work::Call => 0.0,
        }
    }

    fn book(&mut self, jitter: f64, now: Instant) -> Duration {
        let turn = Duration::from_secs_f64(1.0 / self.per_second);
        self.booked = self.booked.max(now + limits::RETRY_AFTER_LEAST) + turn;
        let most = limits::RETRY_AFTER_MOST;
        if self.booked > now + most {
            // Too many for times of their own: anywhere in the later half.
            self.booked = now + most;
            return most.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
        }
        self.booked - now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_storm_is_spread_at_the_admitted_rate() {
        let now = Instant::now();
        let mut gate = Admission::new(1_000, now);
        let mut waits = Vec::new();
        let mut admitted = 0;
        for _ in 0..10_000 {
            match gate.admit(Work::Returning, 0, 0.5, now) {
                Ok(()) => admitted += 1,
                Err(wait) => waits.push(wait),
            }
        }
        assert_eq!(admitted, 1_750, "the burst but for what is kept free");
        assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "each has a time of its own");
        let within = |second: u64| {
            let at = |wait: &&Duration| wait.as_millis() as u64 / 1_000 == second;
            waits.iter().filter(at).count()
        };
        assert!((0..9).all(|second| within(second) <= 1_001), "no second has more than its share");
    }

    #[test]
    fn devices_with_unfinished_calls_pass_when_new_ones_do_not() {
        let now = Instant::now();
        let mut gate = Admission::new(100, now);
        let mut admitted = |work| (0..1_000).take_while(|_| gate.admit(work, 0, 0.0, now).is_ok()).count();
        assert_eq!(admitted(Work::NewDevice), 150);
        assert_eq!(admitted(Work::Returning), 25);
        assert_eq!(admitted(Work::Unfinished), 25);
    }

    #[test]
    fn a_pressed_node_takes_no_new_devices_and_still_those_that_return() {
        let now = Instant::now();
        let mut gate = Admission::new(100, now);
        assert!(gate.admit(Work::NewDevice, 70, 0.0, now).is_err());
        assert!(gate.admit(Work::Returning, 70, 0.0, now).is_ok());
    }

    proptest! {
        #[test]
        fn no_more_are_admitted_than_the_rate_and_everybody_gets_a_bounded_wait(
            rate in 1..2_000u32, steps in prop::collection::vec((0..200u64, 0..3u8, 0..100u32, 0.0..1.0f64), 1..400),
        ) {
            let start = Instant::now();
            let (mut gate, mut now, mut admitted) = (Admission::new(rate, start), start, 0_u64);
            for (pause, work, percent, jitter) in steps {
                now += Duration::from_millis(pause);
                let work = [Work::NewDevice, Work::Returning, Work::Unfinished][usize::from(work)];
                match gate.admit(work, percent, jitter, now) {
                    Ok(()) => admitted += 1,
                    Err(wait) => {
                        prop_assert!(wait >= limits::RETRY_AFTER_LEAST && wait <= limits::RETRY_AFTER_MOST);
                    }
                }
                let bound = f64::from(rate) * ((now - start).as_secs_f64() + limits::CONNECT_BURST.as_secs_f64());
                prop_assert!(admitted as f64 <= bound + 1.0);
            }
        }
    }
}
