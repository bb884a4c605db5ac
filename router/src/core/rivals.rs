//! Agent processes that take one device from each other: who is let in, and who waits how long.
//!
//! A process that takes a device over from another one is let in: devices are restarted and replaced. When that goes on,
//! whoever has the device keeps it for a while, which doubles with each time, and the others wait. Nobody can know which
//! of them is the true one: each gets its turn, and the turns grow longer.

use std::time::Duration;

use compact_str::CompactString;
use hashbrown::HashMap;
use rollcall_registry::model::ids::DeviceKey;
use tokio::time::Instant;

use crate::limits;

/// The devices that were taken over lately.
#[derive(Debug)]
pub(crate) struct Rivals {
    contests: HashMap<DeviceKey, Contest>,
    swept: Instant,
}

#[derive(Debug)]
struct Contest {
    /// How often the device was taken over, each time soon after the time before.
    takeovers: u32,
    last: Instant,
    /// Where the process came from that has it now.
    holder_from: CompactString,
    /// One was let in, and has not taken over yet.
    expected_until: Instant,
    /// When the process that has it was last asked whether it is still there.
    asked: Option<Instant>,
    /// When people were told.
    told: Option<Instant>,
}

/// What becomes of a process that would take a device over from another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is let in.
    Admit,
    /// It is let in if the other one does not answer, else it waits so long.
    Ask(Duration),
    /// It waits so long.
    Wait(Duration),
}

/// A device was taken over once more than happens to devices that are in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flap {
    /// How often by now.
    pub(crate) takeovers: u32,
    /// Where the process came from that had it.
    pub(crate) former_from: CompactString,
    /// Whether people are to be told.
    pub(crate) tell: Tell,
}

/// Whether people are to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tell {
    /// They are.
    Now,
    /// They were, lately.
    WasTold,
}

impl Contest {
    fn new(holder_from: CompactString, now: Instant) -> Self {
        Self { takeovers: 1, last: now, holder_from, expected_until: now, asked: None, told: None }
    }

    /// How long the device is kept by whoever took it last.
    fn keep(&self) -> Duration {
        match self.takeovers.checked_sub(limits::TAKEOVERS_FREE + 1) {
            None => Duration::ZERO,
            Some(beyond) => limits::TAKEOVER_KEEP_LEAST
                .saturating_mul(1 << beyond.min(16))
                .min(limits::TAKEOVER_KEEP_MOST),
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= limits::TAKEOVER_MEMORY
    }
}

impl Rivals {
    /// Nothing was taken over.
    pub(crate) fn new(now: Instant) -> Self {
        Self { contests: HashMap::new(), swept: now }
    }

    /// Whether any device was taken over lately.
    pub(crate) fn any(&self) -> bool {
        !self.contests.is_empty()
    }

    /// A device was taken over by a process that comes from this address.
    pub(crate) fn taken_over(&mut self, device: &DeviceKey, from: &str, now: Instant) -> Option<Flap> {
        let Some(contest) = self.contests.get_mut(device).filter(|contest| !contest.is_over(now)) else {
            self.remember(device, from, now);
            return None;
        };
        contest.takeovers = contest.takeovers.saturating_add(1);
        contest.last = now;
        (contest.expected_until, contest.asked) = (now, None);
        let former_from = std::mem::replace(&mut contest.holder_from, from.into());
        if contest.takeovers <= limits::TAKEOVERS_FREE {
            return None;
        }
        let recently = |told: Instant| now.saturating_duration_since(told) < limits::TAKEOVERS_TOLD;
        let tell = if contest.told.is_some_and(recently) { Tell::WasTold } else { Tell::Now };
        if tell == Tell::Now {
            contest.told = Some(now);
        }
        Some(Flap { takeovers: contest.takeovers, former_from, tell })
    }

    /// A process would take a device over from another one.
    pub(crate) fn attach(&mut self, device: &DeviceKey, now: Instant) -> Verdict {
        let Some(contest) = self.contests.get_mut(device).filter(|contest| !contest.is_over(now)) else {
            self.contests.remove(device);
            return Verdict::Admit;
        };
        let keep = contest.keep();
        if keep.is_zero() {
            return Verdict::Admit;
        }
        let until = (contest.last + keep).max(contest.expected_until);
        let wait = until.saturating_duration_since(now);
        if wait.is_zero() {
            contest.expected_until = now + limits::TAKEOVER_EXPECTED;
            return Verdict::Admit;
        }
        let lately = |asked: Instant| now.saturating_duration_since(asked) < limits::DOUBT_EVERY;
        if contest.asked.is_some_and(lately) {
            return Verdict::Wait(wait);
        }
        contest.asked = Some(now);
        Verdict::Ask(wait)
    }

    /// Beyond the bound a device is not remembered, unless others can be forgotten: those that were taken over a few times
    /// and not in the last moments.
    fn remember(&mut self, device: &DeviceKey, from: &str, now: Instant) {
        if self.contests.len() >= limits::CONTESTS && !self.contests.contains_key(device) {
            if now.saturating_duration_since(self.swept) < limits::CONTESTS_SWEPT {
                return;
            }
            self.swept = now;
            self.contests.retain(|_, contest| {
                let fresh = now.saturating_duration_since(contest.last) < limits::CONTESTS_SWEPT;
                !contest.is_over(now) && (fresh || contest.takeovers > limits::TAKEOVERS_FREE)
            });
            if self.contests.len() >= limits::CONTESTS {
                return;
            }
        }
        self.contests.insert(device.clone(), Contest::new(from.into(), now));
    }
}

#[cfg(test)]
mod tests;
