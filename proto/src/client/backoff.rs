//! How long to wait before the next attempt, where the node does not say.

use std::time::Duration;

use super::limits::{BACKOFF_MAX, BACKOFF_MIN};

/// The pause after this many attempts: doubling, and a fifth more or less, so that callers do not come back together.
///
/// See <https://github.com/grpc/proposal/blob/master/A6-client-retries.md#exponential-backoff>.
pub(super) fn pause(attempts: u32, draw: f64) -> Duration {
    let doubled = BACKOFF_MIN.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(BACKOFF_MAX);
    doubled.mul_f64(0.8 + 0.4 * draw.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_have_an_end() {
        let pauses: Vec<u128> = (1..9).map(|attempts| pause(attempts, 0.5).as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1_600, 2_000, 2_000]);
        assert_eq!(pause(1, 0.0), Duration::from_millis(40));
        assert_eq!(pause(u32::MAX, 1.0), Duration::from_millis(2_400));
    }
}
