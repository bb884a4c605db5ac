//! What each of many names has used: a bounded table, in shards so that calls of different names seldom meet.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use compact_str::CompactString;
use parking_lot::RwLock;

use super::nanoseconds;
use crate::limits::RATE_BURST;

const SHARDS: usize = 16;

/// What one name has used. Times are nanoseconds since a common beginning.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// When what was taken is paid off (GCRA: one number is the whole bucket).
    due_ns: AtomicU64,
    in_flight: AtomicU32,
}

impl Account {
    /// Takes one of so many a second; 0: of any number.
    ///
    /// # Errors
    /// None is left; one will be after so long.
    pub(super) fn take(&self, per_second: u32, now_ns: u64) -> Result<(), Duration> {
        let Some(distance) = Duration::from_secs(1).checked_div(per_second) else { return Ok(()) };
        let (distance_ns, burst_ns) = (nanoseconds(distance), nanoseconds(RATE_BURST));
        let next = |due_ns: u64| {
            let due_ns = due_ns.max(now_ns).saturating_add(distance_ns);
            (due_ns - now_ns <= burst_ns).then_some(due_ns)
        };
        let taken = self.due_ns.fetch_update(Relaxed, Relaxed, next);
        let pause_ns = |due_ns: u64| due_ns.saturating_add(distance_ns).saturating_sub(now_ns + burst_ns);
        taken.map(drop).map_err(|due_ns| Duration::from_nanos(pause_ns(due_ns)))
    }

    /// One more is in flight, of so many at most; 0: of any number.
    ///
    /// # Errors
    /// There are as many already.
    pub(super) fn start(&self, most: u32) -> Result<(), ()> {
        let next = |count: u32| (most == 0 || count < most).then(|| count.saturating_add(1));
        self.in_flight.fetch_update(Relaxed, Relaxed, next).map(drop).map_err(drop)
    }

    /// So many of them have ended.
    pub(super) fn end(&self, count: u32) {
        self.in_flight.fetch_sub(count, Relaxed);
    }
}

type Shard = RwLock<HashMap<CompactString, Arc<Account>>>;

/// The accounts of many names. When as many are known as may be, those that owe nothing are forgotten; if there are none,
/// all further names share one account, so that names that are made up cannot be used to call without a limit.
#[derive(Debug)]
pub(super) struct Accounts {
    shards: Box<[Shard]>,
    most_per_shard: usize,
    hasher: RandomState,
    others: Arc<Account>,
}

impl Accounts {
    pub(super) fn new(most: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            most_per_shard: most.div_ceil(SHARDS),
            hasher: RandomState::new(),
            others: Arc::default(),
        }
    }

    pub(super) fn of(&self, name: &str, now_ns: u64) -> Arc<Account> {
        let shard = &self.shards[self.hasher.hash_one(name) as usize % SHARDS];
        if let Some(known) = shard.read().get(name) {
            return Arc::clone(known);
        }
        let mut known = shard.write();
        if known.len() >= self.most_per_shard && !known.contains_key(name) {
            known
                .retain(|_, account| Arc::strong_count(account) > 1 || account.due_ns.load(Relaxed) > now_ns);
            if known.len() >= self.most_per_shard {
                return Arc::clone(&self.others);
            }
        }
        Arc::clone(known.entry(name.into()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn passed(account: &Account, at_ns: u64) -> usize {
        (0..100).filter(|_| account.take(10, at_ns).is_ok()).count()
    }

    #[test]
    fn a_burst_passes_and_then_as_many_as_the_rate_allows() {
        let account = Account::default();
        assert_eq!(passed(&account, 0), 10);
        assert_eq!(passed(&account, 3 * SECOND_NS / 10), 3);
        assert_eq!(passed(&account, 60 * SECOND_NS), 10);
        assert_eq!(account.take(10, 60 * SECOND_NS), Err(Duration::from_millis(100)));
        assert_eq!(account.take(0, 60 * SECOND_NS), Ok(()), "no limit");
    }

    #[test]
    fn who_comes_when_it_was_told_to_is_let_in() {
        let account = Account::default();
        let mut now_ns = 0;
        for _ in 0..1_000 {
            if let Err(pause) = account.take(7, now_ns) {
                now_ns += nanoseconds(pause);
                assert_eq!(account.take(7, now_ns), Ok(()));
            }
        }
    }

    #[test]
    fn names_that_owe_nothing_are_forgotten() {
        let accounts = Accounts::new(SHARDS);
        for number in 0..1_000 {
            accounts.of(&number.to_string(), 0).take(10, 0).ok();
        }
        let known = || accounts.shards.iter().map(|shard| shard.read().len()).sum::<usize>();
        assert!(known() <= SHARDS);
        let newcomer = accounts.of("one more", SECOND_NS);
        assert!(!Arc::ptr_eq(&newcomer, &accounts.others));
    }

    #[test]
    fn names_beyond_the_bound_share_an_account_and_its_limit() {
        let accounts = Accounts::new(SHARDS);
        let calls = (0..1_000).filter(|number| accounts.of(&number.to_string(), 0).take(1, 0).is_ok());
        assert!(calls.count() <= SHARDS + 1);
    }

    #[test]
    fn who_has_calls_in_flight_is_not_forgotten() {
        let accounts = Accounts::new(SHARDS);
        let busy = accounts.of("busy", 0);
        busy.start(1).expect("the first");
        for number in 0..1_000 {
            accounts.of(&number.to_string(), 0);
        }
        assert!(Arc::ptr_eq(&busy, &accounts.of("busy", SECOND_NS)));
    }
}
