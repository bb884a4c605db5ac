//! The accounts of calls by group, and a log of those that failed or were slow. The group is the caller's word, so the
//! groups that are told apart are bounded, and so are the lines.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use metrics::{Counter, counter};
use rollcall_router::{Failure, Fault};

use super::metric_names::GROUP_CALLS;
use crate::limits::GROUPS_SHOWN;

/// What is said of groups beyond the bound.
const OTHER: &str = "_other";

/// A call that has ended.
#[derive(Debug, Clone, Copy)]
pub struct EndedCall<'a> {
    /// The group that it named; may be empty for a device that is named.
    pub group: &'a str,
    /// The action.
    pub action: &'a str,
    /// Its name.
    pub request_id: &'a str,
    /// How long it took at this node.
    pub elapsed: Duration,
    /// The device, if one is known.
    pub device_id: Option<&'a str>,
    /// Why it failed; `None`: it was answered.
    pub failure: Option<&'a Failure>,
}

/// What goes into the log of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessLog {
    /// How many lines there may be in a second; 0: none at all.
    pub lines_per_second: u32,
    /// Calls that take longer are logged though they did not fail.
    pub slow: Duration,
}

/// The accounts: cheap, cloneable.
#[derive(Clone)]
pub struct CallAccounts {
    inner: Arc<Inner>,
}

struct Inner {
    log: AccessLog,
    lines: Mutex<Lines>,
    groups: RwLock<HashMap<String, Arc<Group>>>,
    other: Group,
}

impl CallAccounts {
    /// Nothing has been called yet. Install the recorder first.
    pub fn new(log: AccessLog) -> Self {
        let lines = Mutex::new(Lines::new(log.lines_per_second, Instant::now()));
        let (groups, other) = (RwLock::default(), Group::new(OTHER));
        Self { inner: Arc::new(Inner { log, lines, groups, other }) }
    }

    /// A call has ended.
    pub fn ended(&self, call: &EndedCall<'_>) {
        self.count(call.group, call.failure.map(|failure| failure.reason.fault()));
        if call.failure.is_some() || call.elapsed >= self.inner.log.slow {
            self.log(call);
        }
    }

    fn count(&self, group: &str, fault: Option<Fault>) {
        let known = self.inner.groups.read().unwrap_or_else(PoisonError::into_inner).get(group).cloned();
        let known = known.or_else(|| self.meet(group));
        known.as_deref().unwrap_or(&self.inner.other).count(fault);
    }

    /// A group that was not called before; `None`: there are as many as are shown.
    fn meet(&self, group: &str) -> Option<Arc<Group>> {
        let mut groups = self.inner.groups.write().unwrap_or_else(PoisonError::into_inner);
        if groups.len() >= GROUPS_SHOWN && !groups.contains_key(group) {
            return None;
        }
        let met = groups.entry(group.to_owned()).or_insert_with(|| Arc::new(Group::new(group)));
        Some(Arc::clone(met))
    }

    fn log(&self, call: &EndedCall<'_>) {
        let mut lines = self.inner.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(not_logged) = lines.take(Instant::now()) else { return };
        drop(lines);
        let EndedCall { group, action, request_id, elapsed, device_id, failure } = *call;
        let (elapsed_ms, device) = (elapsed.as_millis(), device_id.unwrap_or_default());
        match failure {
            Some(failure) => tracing::info!(
                target: "rollcall_access",
                group, action, device, request_id, elapsed_ms, not_logged,
                reason = failure.reason.as_str(),
                outcome = failure.outcome.as_str(),
                fault = failure.reason.fault().as_str(),
                node = failure.node.as_deref().unwrap_or_default(),
                why = %failure.message,
                "a call failed"
            ),
            None => tracing::info!(
                target: "rollcall_access",
                group, action, device, request_id, elapsed_ms, not_logged, "a call was slow"
            ),
        }
    }
}

/// One group's counters.
struct Group {
    answered: Counter,
    failed: [Counter; 3],
}

impl Group {
    fn new(group: &str) -> Self {
        let counter =
            |fault: &'static str| counter!(GROUP_CALLS, "group" => group.to_owned(), "fault" => fault);
        let failed = [Fault::Caller, Fault::Device, Fault::Cluster].map(|fault| counter(fault.as_str()));
        Self { answered: counter(""), failed }
    }

    fn count(&self, fault: Option<Fault>) {
        match fault {
            None => self.answered.increment(1),
            Some(fault) => self.failed[fault as usize].increment(1),
        }
    }
}

/// A bucket of lines: a second's worth at once, then as many as the rate allows.
#[derive(Debug)]
struct Lines {
    per_second: f64,
    left: f64,
    looked: Instant,
    not_logged: u64,
}

impl Lines {
    fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second);
        Self { per_second, left: per_second, looked: now, not_logged: 0 }
    }

    /// Takes a line, and says how many were not logged since the last one; `None`: there is none left.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let passed = now.saturating_duration_since(self.looked).as_secs_f64();
        self.left = (self.left + passed * self.per_second).min(self.per_second);
        self.looked = now;
        if self.left < 1.0 {
            self.not_logged += 1;
            return None;
        }
        self.left -= 1.0;
        Some(std::mem::take(&mut self.not_logged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_at_their_rate_and_say_how_many_did_not() {
        let start = Instant::now();
        let mut lines = Lines::new(2, start);
        assert_eq!(lines.take(start), Some(0));
        assert_eq!(lines.take(start), Some(0));
        assert_eq!((lines.take(start), lines.take(start)), (None, None));
        assert_eq!(lines.take(start + Duration::from_millis(500)), Some(2));
        assert_eq!(lines.take(start + Duration::from_millis(600)), None);
        assert_eq!(Lines::new(0, start).take(start + Duration::from_secs(9)), None, "no rate, no line");
    }

    #[test]
    fn groups_beyond_the_bound_share_an_account() {
        let accounts = CallAccounts::new(AccessLog { lines_per_second: 0, slow: Duration::MAX });
        for number in 0..GROUPS_SHOWN + 5 {
            accounts.count(&format!("group-{number}"), None);
        }
        assert_eq!(accounts.inner.groups.read().expect("a lock").len(), GROUPS_SHOWN);
        assert!(accounts.meet("group-0").is_some() && accounts.meet("another").is_none());
    }
}
