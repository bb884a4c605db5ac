//! How long to wait: pure functions of the number of failures and a random number from 0 to 1.

use std::time::Duration;

use crate::limits;

/// The pause before the next dial after `failures` in a row, with `servers` to choose from.
///
/// Each server gets its turn before the pause doubles. Half of the pause is random, so that devices which lost the
/// same node come back spread out (AWS Architecture Blog, "Exponential Backoff And Jitter": equal jitter).
pub(crate) fn pause(failures: u32, servers: usize, random: f64) -> Duration {
    let rounds = failures / u32::try_from(servers.max(1)).unwrap_or(u32::MAX);
    let whole = limits::BACKOFF_MIN.saturating_mul(1 << rounds.min(16)).min(limits::BACKOFF_MAX);
    whole.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

/// The wait after a refusal that says "not for a minute": one to one and a half.
pub(crate) fn minute(random: f64) -> Duration {
    limits::MINUTE.mul_f64(1.0 + random.clamp(0.0, 1.0) / 2.0)
}

/// A wait that a node advised: never shorter, up to a tenth longer, because many devices may have got the same advice.
pub(crate) fn advised(wait: Duration, random: f64) -> Duration {
    wait.mul_f64(1.0 + random.clamp(0.0, 1.0) / 10.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_server_is_tried_before_the_pause_doubles() {
        let pauses: Vec<_> = (0..7).map(|failures| pause(failures, 3, 1.0).as_millis()).collect();
        assert_eq!(pauses, [200, 200, 200, 400, 400, 400, 800]);
    }

    proptest! {
        #[test]
        fn a_pause_has_bounds_and_never_shrinks_with_failures(failures: u32, servers in 0usize..50, random in 0.0..=1.0f64) {
            let now = pause(failures, servers, random);
            prop_assert!(now >= limits::BACKOFF_MIN / 2 && now <= limits::BACKOFF_MAX);
            prop_assert!(pause(failures.saturating_add(1), servers, random) >= now);
        }

        #[test]
        fn advice_is_never_undercut(millis in 0u64..600_000, random in 0.0..=1.0f64) {
            let wait = Duration::from_millis(millis);
            let taken = advised(wait, random);
            prop_assert!(taken >= wait && taken <= wait.mul_f64(1.1) + Duration::from_millis(1));
            prop_assert!(minute(random) >= limits::MINUTE);
        }
    }
}
