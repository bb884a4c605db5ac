//! How much of a failing load is sent again: gRFC A6's `retryThrottling`, so that retries never multiply an overload.

use std::sync::atomic::{AtomicU32, Ordering};

const TOKEN: u32 = 1_000;

/// A bucket of tokens. Every failed attempt takes one, every call that did not fail gives a part of one back; nothing is
/// retried while the bucket is half empty or more.
///
/// See <https://github.com/grpc/proposal/blob/master/A6-client-retries.md#throttling-retry-attempts-and-hedged-rpcs>.
#[derive(Debug)]
pub struct RetryBudget {
    milli: AtomicU32,
    most_milli: u32,
    earns_milli: u32,
}

impl RetryBudget {
    /// A full bucket of this many tokens, to which each success gives this many thousandths of one.
    #[must_use]
    pub fn new(tokens: u32, earns_milli: u32) -> Self {
        let most_milli = tokens.saturating_mul(TOKEN);
        Self { milli: AtomicU32::new(most_milli), most_milli, earns_milli }
    }

    /// A call did not fail, or failed in a way that says nothing about the cluster.
    pub fn succeeded(&self) {
        if self.milli.load(Ordering::Relaxed) < self.most_milli {
            let earned = |milli: u32| Some(milli.saturating_add(self.earns_milli).min(self.most_milli));
            // It always yields a value.
            let _ = self.milli.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earned);
        }
    }

    /// An attempt failed that might be retried; says whether it may.
    pub fn failed(&self) -> bool {
        let spent = |milli: u32| Some(milli.saturating_sub(TOKEN));
        let before = self.milli.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent);
        before.is_ok_and(|before| before.saturating_sub(TOKEN) > self.most_milli / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_retried_below_half_of_the_tokens() {
        let budget = RetryBudget::new(10, 100);
        let retried = (0..100).filter(|_| budget.failed()).count();
        assert_eq!(retried, 4, "at five of ten it ends");
        (0..50).for_each(|_| budget.succeeded());
        assert!(!budget.failed(), "five again, minus this one");
        (0..1_000).for_each(|_| budget.succeeded());
        assert_eq!((0..100).filter(|_| budget.failed()).count(), 4, "it never holds more than ten");
    }

    #[test]
    fn a_steady_tenth_of_failures_is_retried_for_ever() {
        let budget = RetryBudget::new(10, 100);
        for _ in 0..1_000 {
            assert!(budget.failed());
            (0..10).for_each(|_| budget.succeeded());
        }
    }
}
