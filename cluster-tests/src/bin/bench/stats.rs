//! Medians, spreads and percentiles.

use std::time::Duration;

/// The middle of some samples, and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// `None` without samples.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let upper = sorted[sorted.len() / 2];
        let lower = sorted[(sorted.len() - 1) / 2];
        Some(Self { least, median: f64::midpoint(lower, upper), most })
    }
}

/// How long each of many calls took.
#[derive(Debug, Default, Clone)]
pub(crate) struct Latencies {
    sorted: Vec<Duration>,
}

impl Latencies {
    pub(crate) fn of(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        Self { sorted: samples }
    }

    /// The latency that so large a part of the calls did not exceed, in microseconds; 0 without calls.
    pub(crate) fn percentile_us(&self, part: f64) -> f64 {
        let at = ((self.sorted.len() as f64 * part).ceil() as usize).clamp(1, self.sorted.len().max(1)) - 1;
        self.sorted.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    }

    pub(crate) fn len(&self) -> usize {
        self.sorted.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let spread = Spread::of(&[4.0, 1.0, 2.0, 3.0]);
        assert_eq!(spread, Some(Spread { least: 1.0, median: 2.5, most: 4.0 }));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn a_percentile_is_one_of_the_samples() {
        let latencies = Latencies::of((1..=100).map(Duration::from_micros).collect());
        assert_eq!(latencies.percentile_us(0.5), 50.0);
        assert_eq!(latencies.percentile_us(0.99), 99.0);
        assert_eq!(latencies.percentile_us(1.0), 100.0);
        assert_eq!(Latencies::default().percentile_us(0.5), 0.0);
    }
}
