//! The record of administrative acts and of refusals: log lines of the target `audit`, without secrets and without
//! end. Refusals beyond a rate are counted, and told with the next one.

use std::{net::SocketAddr, sync::LazyLock};

use metrics::counter;
use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use crate::{limits::AUDITED_REFUSALS, telemetry::metric_names::ACCESS_REFUSED};

/// One log, one rate: of the whole process.
static REFUSALS: LazyLock<Mutex<Refusals>> =
    LazyLock::new(|| Mutex::new(Refusals { since: Instant::now(), written: 0, left_out: 0 }));

/// Of the present second.
#[derive(Debug)]
struct Refusals {
    since: Instant,
    written: u32,
    left_out: u64,
}

/// A refusal.
#[derive(Debug)]
pub(crate) struct Refused<'a> {
    /// Empty: nobody who is known.
    pub(crate) who: &'a str,
    pub(crate) from: Option<SocketAddr>,
    /// A method, or what was asked of it.
    pub(crate) what: &'a str,
    pub(crate) why: &'static str,
}

/// An administrator was let through.
pub(super) fn act(who: &str, from: Option<SocketAddr>, what: &str) {
    tracing::info!(target: "audit", who, ?from, what, "administrative act");
}

/// Somebody was refused.
pub(crate) fn refused(refused: &Refused<'_>) {
    counter!(ACCESS_REFUSED, "why" => refused.why).increment(1);
    let Some(left_out) = REFUSALS.lock().next(Instant::now()) else { return };
    let Refused { who, from, what, why } = refused;
    tracing::warn!(target: "audit", who, ?from, what, why, left_out, "refused");
}

impl Refusals {
    /// How many were left out before this one; `None`: this one is left out too.
    fn next(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            (self.since, self.written) = (now, 0);
        }
        if self.written >= AUDITED_REFUSALS {
            self.left_out += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_fills_no_disk_and_is_counted() {
        let start = Instant::now();
        let mut refusals = Refusals { since: start, written: 0, left_out: 0 };
        let written = (0..1_000).filter(|_| refusals.next(start).is_some()).count();
        assert_eq!(written, AUDITED_REFUSALS as usize);
        assert_eq!(refusals.next(start + Duration::from_secs(1)), Some(1_000 - u64::from(AUDITED_REFUSALS)));
        assert_eq!(refusals.next(start + Duration::from_secs(1)), Some(0));
    }
}
