//! How hard a node is pressed, from samples; and what it still takes on then.
//!
//! Order of sacrifice: replies always pass; then calls on open sessions, devices with unfinished calls, devices that
//! resume, new devices, and listings, which are the first to be refused.

use std::time::Duration;

use crate::limits;

/// One look at the node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// How long a task that was due had to wait for its thread.
    pub(crate) lag: Duration,
    /// How full the fullest queue is, in percent.
    pub(crate) fill: u32,
}

/// How hard a node is pressed: its samples, smoothed.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    /// In percent of [`limits::LAG_MOST`].
    lag: f64,
    fill: u32,
}

/// Work that a node may refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    /// Lists and watches.
    Listing,
    /// A device that was never here.
    NewDevice,
    /// A device that had a session.
    Returning,
    /// A device with calls that are not finished.
    Unfinished,
    /// A call on an open session.
    Call,
}

impl Pressure {
    /// Takes a sample. A single late one, as after the machine slept, presses nobody.
    pub(crate) fn sample(&mut self, sample: Sample) {
        let lag = sample.lag.min(limits::LAG_MOST);
        let elapsed = (limits::PRESSURE_SAMPLE + lag).as_secs_f64();
        let weight = elapsed / (elapsed + limits::PRESSURE_MEMORY.as_secs_f64());
        let percent = lag.as_secs_f64() / limits::LAG_MOST.as_secs_f64() * 100.0;
        self.lag += (percent - self.lag) * weight;
        self.fill = sample.fill.min(100);
    }

    /// From 0, idle, to 100. A queue presses only once it is nearly full.
    pub(crate) fn percent(&self) -> u32 {
        let fill = self.fill.saturating_sub(80) * 5;
        (self.lag.round() as u32).max(fill).min(100)
    }
}

impl Work {
    /// All kinds.
    pub(crate) const ALL: [Self; 5] =
        [Self::Listing, Self::NewDevice, Self::Returning, Self::Unfinished, Self::Call];

    /// Its name in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Listing => "listing",
            Self::NewDevice => "new_device",
            Self::Returning => "returning_device",
            Self::Unfinished => "unfinished_device",
            Self::Call => "call",
        }
    }

    /// The pressure from which on it is refused.
    fn bound(self) -> u32 {
        match self {
            Self::Listing => 40,
            Self::NewDevice => 60,
            Self::Returning => 75,
            Self::Unfinished => 85,
            Self::Call => 95,
        }
    }

    /// Whether a node under this pressure takes it on.
    pub(crate) fn is_taken_at(self, percent: u32) -> bool {
        percent < self.bound()
    }
}

/// When what is refused may come again: once the backlog ahead of it has been worked off.
pub(crate) fn retry_after(backlog: u64, per_second: u64) -> Duration {
    let seconds = backlog as f64 / per_second.max(1) as f64;
    let most = limits::RETRY_AFTER_MOST.as_secs_f64();
    Duration::from_secs_f64(seconds.min(most)).max(limits::RETRY_AFTER_LEAST)
}

/// Advice to many, who are not to come all at once: up to half as long again by `jitter`, from 0 to 1.
pub(crate) fn jittered(wait: Duration, jitter: f64) -> Duration {
    wait.mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn late(ms: u64) -> Sample {
        Sample { lag: Duration::from_millis(ms), fill: 0 }
    }

    fn after(samples: impl IntoIterator<Item = Sample>) -> u32 {
        let mut pressure = Pressure::default();
        samples.into_iter().for_each(|sample| pressure.sample(sample));
        pressure.percent()
    }

    #[test]
    fn one_late_sample_refuses_nothing_and_lasting_lag_refuses_in_order() {
        assert!(Work::Listing.is_taken_at(after([late(60_000)])));
        assert_eq!(after(vec![late(0); 100]), 0);
        let busy = after(vec![late(250); 100]);
        assert!(!Work::Listing.is_taken_at(busy) && Work::NewDevice.is_taken_at(busy), "{busy}");
        let drowning = after(vec![late(2_000); 100]);
        assert!(!Work::Call.is_taken_at(drowning), "{drowning}");
    }

    #[test]
    fn pressure_falls_when_the_lag_does() {
        let samples = vec![late(500); 50].into_iter().chain(vec![late(0); 200]);
        assert_eq!(after(samples), 0);
    }

    #[test]
    fn a_full_queue_presses_at_once_and_a_half_full_one_does_not() {
        let full = |fill| after([Sample { lag: Duration::ZERO, fill }]);
        assert_eq!((full(50), full(80), full(90), full(100)), (0, 0, 50, 100));
    }

    #[test]
    fn whoever_waits_longer_ahead_is_told_to_wait_longer() {
        assert_eq!(retry_after(0, 1_000), limits::RETRY_AFTER_LEAST);
        assert_eq!(retry_after(5_000, 1_000), Duration::from_secs(5));
        assert_eq!(retry_after(u64::MAX, 0), limits::RETRY_AFTER_MOST);
        assert_eq!(jittered(Duration::from_secs(5), 1.0), Duration::from_millis(7_500));
    }

    proptest! {
        #[test]
        fn nothing_is_refused_while_less_important_work_is_taken(percent in 0..=100u32) {
            let order = [Work::Listing, Work::NewDevice, Work::Returning, Work::Unfinished, Work::Call];
            for pair in order.windows(2) {
                prop_assert!(!pair[0].is_taken_at(percent) || pair[1].is_taken_at(percent));
            }
        }
    }
}
