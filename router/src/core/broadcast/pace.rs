//! How fast a broadcast sends: so many calls a second, with what a coarse timer made late caught up in small bursts.
//!
//! The generic cell rate algorithm (ITU-T I.371, annex A): one instant instead of a bucket that has to be filled.

use std::time::Duration;

use tokio::time::Instant;

/// How fast a broadcast sends.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    slack: Duration,
    /// When the next call would be due at an even pace.
    due: Option<Instant>,
}

impl Pace {
    /// This many calls a second, at least 1; bursts make up for this much delay.
    pub(crate) fn new(rate_per_second: u32, slack: Duration) -> Self {
        Self { interval: Duration::from_secs(1) / rate_per_second.max(1), slack, due: None }
    }

    /// When a call may be sent; `None`: now.
    pub(crate) fn ready_at(&self, now: Instant) -> Option<Instant> {
        self.due.filter(|due| *due > now + self.slack).map(|due| due - self.slack)
    }

    /// A call was sent.
    pub(crate) fn sent(&mut self, now: Instant) {
        self.due = Some(self.due.map_or(now, |due| due.max(now)) + self.interval);
    }
}
