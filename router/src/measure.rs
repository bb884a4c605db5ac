//! Looks at the node many times a second: how late its tasks run, how full its queues are, how fast its calls end.

use std::{
    sync::{
        Weak,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use rollcall_registry::Registrar;
use tokio::time::{Instant, sleep_until};

use crate::{
    core::pressure::{Pressure, Sample, Work, retry_after},
    limits,
    metrics::Metrics,
    outcome::{Failure, Reason},
    sessions::device_sessions::DeviceSessions,
};

/// How the node is doing, for those who decide what it takes on.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    percent: AtomicU32,
    calls_ended: AtomicU64,
    calls_per_second: AtomicU64,
}

impl Vitals {
    /// How hard the node is pressed: 0 to 100.
    pub(crate) fn percent(&self) -> u32 {
        self.percent.load(Ordering::Relaxed)
    }

    /// A call that entered through this node has ended.
    pub(crate) fn call_ended(&self) {
        self.calls_ended.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the node takes such work on now.
    ///
    /// # Errors
    /// `OVERLOADED`, with advice by how long this many calls take to end.
    pub(crate) fn take_on(&self, work: Work, backlog: usize, metrics: &Metrics) -> Result<(), Failure> {
        if work.is_taken_at(self.percent()) {
            return Ok(());
        }
        metrics.shed(work);
        Err(self.overloaded(backlog, "the node is overloaded"))
    }

    /// The node can take no more: come again when a tenth of what it has is done.
    pub(crate) fn overloaded(&self, backlog: usize, message: &'static str) -> Failure {
        let per_second = self.calls_per_second.load(Ordering::Relaxed);
        let wait = retry_after(backlog as u64 / 10, per_second);
        Failure::not_executed(Reason::Overloaded, message).retry_after(wait)
    }
}

/// Measures until the sessions are dropped.
pub(crate) async fn measure<R: Registrar>(sessions: Weak<DeviceSessions<R>>) {
    let (mut pressure, mut ended_before, mut rate) = (Pressure::default(), 0, 0.0);
    let mut since = Instant::now();
    loop {
        let due = Instant::now() + limits::PRESSURE_SAMPLE;
        sleep_until(due).await;
        let now = Instant::now();
        let Some(sessions) = sessions.upgrade() else { return };
        let vitals = &sessions.shared.vitals;
        let sample = Sample { lag: now.saturating_duration_since(due), fill: sessions.openings_percent() };
        pressure.sample(sample);
        vitals.percent.store(pressure.percent(), Ordering::Relaxed);
        let ended = vitals.calls_ended.load(Ordering::Relaxed);
        let elapsed = now.saturating_duration_since(since).max(Duration::from_millis(1));
        rate += ((ended - ended_before) as f64 / elapsed.as_secs_f64() - rate) / 8.0;
        vitals.calls_per_second.store(rate as u64, Ordering::Relaxed);
        (ended_before, since) = (ended, now);
        sessions.shared.metrics.pressure.set(f64::from(pressure.percent()) / 100.0);
    }
}
