//! How many calls one caller may make in a second and have in flight, and how many one group may be asked for. Without
//! limits nothing is counted, and nothing is looked up.

mod accounts;

use std::{sync::Arc, time::Duration};

use compact_str::format_compact;
use metrics::counter;
use rollcall_router::{Failure, Reason};
use tokio::time::Instant;

use self::accounts::{Account, Accounts};
use crate::{
    access::Identity,
    config::RateLimits,
    limits::{IN_FLIGHT_RETRY_AFTER, RATES_KEPT},
    telemetry::metric_names::RATE_LIMITED,
};

/// The limits of callers and of groups on this node. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct CallRates {
    /// None: nobody is limited.
    kept: Option<Arc<Kept>>,
}

#[derive(Debug)]
struct Kept {
    limits: RateLimits,
    since: Instant,
    callers: Accounts,
    groups: Accounts,
}

/// The calls that are in flight through one door of one caller: a call, a broadcast, or a stream of calls. They count as
/// its caller's until they have ended, or this is dropped.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    account: Option<Arc<Account>>,
    count: u32,
}

impl CallRates {
    pub(super) fn new(limits: RateLimits) -> Self {
        if limits == RateLimits::default() {
            return Self { kept: None };
        }
        let accounts = || Accounts::new(RATES_KEPT);
        let since = Instant::now();
        let kept = Kept { limits, since, callers: accounts(), groups: accounts() };
        Self { kept: Some(Arc::new(kept)) }
    }

    /// Counts a call of a group, or of no group if it names none, among those that are in flight.
    ///
    /// # Errors
    /// It is one too many: refused before anything is done for it. It costs its caller as any other, and the group nothing.
    pub(super) fn begin(
        &self,
        who: &Identity,
        namespace: &str,
        group: &str,
        door: &mut InFlight,
    ) -> Result<(), Failure> {
        let Some(kept) = &self.kept else { return Ok(()) };
        kept.begin(who, namespace, group, door, Instant::now())
    }
}

impl Kept {
    fn begin(
        &self,
        who: &Identity,
        namespace: &str,
        group: &str,
        door: &mut InFlight,
        now: Instant,
    ) -> Result<(), Failure> {
        let now_ns = nanoseconds(now.saturating_duration_since(self.since));
        if self.limits.caller_per_second > 0 || self.limits.caller_in_flight > 0 {
            let account = door.account.get_or_insert_with(|| self.callers.of(&who.name, now_ns));
            account
                .take(self.limits.caller_per_second, now_ns)
                .map_err(|pause| refusal(CALLER_RATE, pause))?;
            account
                .start(self.limits.caller_in_flight)
                .map_err(|()| refusal(CALLER_IN_FLIGHT, IN_FLIGHT_RETRY_AFTER))?;
            door.count += 1;
        }
        if self.limits.group_per_second > 0 && !group.is_empty() {
            let account = self.groups.of(&format_compact!("{namespace}/{group}"), now_ns);
            if let Err(pause) = account.take(self.limits.group_per_second, now_ns) {
                door.ended();
                return Err(refusal(GROUP_RATE, pause));
            }
        }
        Ok(())
    }
}

impl InFlight {
    /// One of them has ended.
    pub(super) fn ended(&mut self) {
        if let Some(account) = self.account.as_ref().filter(|_| self.count > 0) {
            self.count -= 1;
            account.end(1);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(account) = self.account.take() {
            account.end(self.count);
        }
    }
}

/// A setting that a call was beyond, and words for it.
type Limit = (&'static str, &'static str);

const CALLER_RATE: Limit = ("caller_rate", "this caller calls faster than `caller_rate` allows");
const CALLER_IN_FLIGHT: Limit =
    ("caller_in_flight", "this caller has as many calls in flight as `caller_in_flight` allows");
const GROUP_RATE: Limit = ("group_rate", "the group is called faster than `group_rate` allows");

fn refusal((limit, words): Limit, pause: Duration) -> Failure {
    counter!(RATE_LIMITED, "limit" => limit).increment(1);
    Failure::not_executed(Reason::RateLimited, words).retry_after(pause)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(limits: RateLimits) -> Kept {
        CallRates::new(limits).kept.and_then(Arc::into_inner).expect("limits")
    }

    fn named(name: &str) -> Identity {
        let mut identity = Identity::everybody();
        name.clone_into(&mut identity.name);
        identity
    }

    fn why(result: Result<(), Failure>) -> String {
        result.err().map(|failure| failure.message.into_owned()).unwrap_or_default()
    }

    #[test]
    fn a_caller_who_is_refused_costs_the_group_nothing() {
        let limits = RateLimits { caller_per_second: 2, group_per_second: 3, ..RateLimits::default() };
        let (kept, mut door) = (kept(limits), InFlight::default());
        let (greedy, other) = (named("greedy"), named("other"));
        let mut call = |who: &Identity, group: &str| {
            let mut own = InFlight::default();
            let door = if who.name == greedy.name { &mut door } else { &mut own };
            kept.begin(who, "default", group, door, kept.since)
        };
        assert!(call(&greedy, "sign").is_ok() && call(&greedy, "sign").is_ok());
        assert!((0..9).all(|_| why(call(&greedy, "sign")).contains("`caller_rate`")));
        assert!(call(&other, "sign").is_ok());
        let refused = call(&other, "sign").expect_err("the group's fourth");
        assert!(refused.message.contains("`group_rate`") && refused.retry_after.is_some(), "{refused:?}");
        assert!(call(&named("third"), "").is_ok(), "a call of no group counts for none");
    }

    #[test]
    fn what_is_in_flight_counts_until_it_ends_or_its_door_closes() {
        let kept = kept(RateLimits { caller_in_flight: 2, ..RateLimits::default() });
        let who = Identity::everybody();
        let begin = |door: &mut InFlight| kept.begin(&who, "default", "sign", door, kept.since).is_ok();
        let (mut stream, mut single) = (InFlight::default(), InFlight::default());
        assert!(begin(&mut stream) && begin(&mut single) && !begin(&mut stream));
        drop(single);
        assert!(begin(&mut stream) && !begin(&mut stream));
        stream.ended();
        assert!(begin(&mut stream));
        drop(stream);
        let mut late = InFlight::default();
        assert!(begin(&mut late) && begin(&mut late) && !begin(&mut late));
    }

    #[test]
    fn no_limit_remembers_nobody() {
        assert!(CallRates::new(RateLimits::default()).kept.is_none());
        let (kept, mut door) =
            (kept(RateLimits { group_per_second: 1, ..RateLimits::default() }), InFlight::default());
        assert!(kept.begin(&Identity::everybody(), "default", "", &mut door, kept.since).is_ok());
        assert!(door.account.is_none());
    }
}
