//! Where chance comes from: streams of numbers that depend on the seed and their purpose alone.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};

/// One stream of numbers.
#[derive(Debug)]
pub(crate) struct Chance(StdRng);

impl Chance {
    /// The stream of a purpose. Another purpose's draws do not move it.
    pub(crate) fn of(seed: u64, purpose: u64) -> Self {
        Self(StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ purpose.rotate_left(40)))
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.random()
    }

    /// One of `0..bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }

    /// Whether something of this probability happens.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        self.0.random_bool(probability)
    }

    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        self.0.random_range(low..high)
    }

    /// A time between these, in microseconds.
    pub(crate) fn time(&mut self, least: Duration, most: Duration) -> Duration {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.0.random_range(micros(least)..=micros(most).max(micros(least))))
    }
}
