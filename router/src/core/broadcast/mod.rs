//! One broadcast: which device is called next, when, and how its end counts. It knows devices by their number alone.
//!
//! `out` calls and `held` results together never exceed the window: who does not read stops what is sent.

pub(crate) mod pace;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod script;
pub(crate) mod tally;

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use self::{pace::Pace, tally::Tally};
use crate::outcome::{Failure, Outcome, Reason};

/// What a broadcast may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Calls in flight and results that nobody has taken, together; at least 1.
    pub(crate) window: u32,
    /// Bytes of results that nobody has taken, beyond which nothing is sent.
    pub(crate) held_bytes: u64,
    /// Devices that wait to be called again.
    pub(crate) again: usize,
    /// How often a device is called.
    pub(crate) attempts: u32,
    /// How long one waits before it is called again.
    pub(crate) pause: Duration,
}

/// One of the devices, by its number.
pub(crate) type Target = u32;

/// A call of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Whom.
    pub(crate) target: Target,
    /// The how manieth, from 1.
    pub(crate) number: u32,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Call a device.
    Send(Attempt),
    /// The time is over before the device was called: its result is a passed deadline, not executed.
    GiveUp(Target),
    /// Nothing before this time, unless a call ends or a result is taken.
    Wait(Option<Instant>),
    /// Every device has its result, and all are taken.
    Over,
}

/// What the end of a call means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the device's result.
    Result,
    /// Surely nothing ran, and the device may be elsewhere in a moment: it is called again.
    Again,
}

/// The state of one broadcast.
#[derive(Debug)]
pub(crate) struct Broadcast {
    bounds: Bounds,
    deadline: Instant,
    targets: u32,
    /// The first device that was never called.
    next: Target,
    out: u32,
    held: u32,
    held_bytes: u64,
    /// In the order of their times, as all wait equally long.
    again: VecDeque<(Instant, Attempt)>,
    pace: Pace,
    tally: Tally,
}

impl Broadcast {
    /// A broadcast to this many devices, of which none has been called.
    pub(crate) fn new(targets: u32, deadline: Instant, pace: Pace, bounds: Bounds) -> Self {
        let (again, tally) = (VecDeque::new(), Tally::default());
        Self { bounds, deadline, targets, next: 0, out: 0, held: 0, held_bytes: 0, again, pace, tally }
    }

    /// What to do now: to be asked again until [`Step::Wait`] or [`Step::Over`].
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        let unsent = self.next < self.targets || !self.again.is_empty();
        if !unsent {
            return if self.out == 0 && self.held == 0 { Step::Over } else { Step::Wait(None) };
        }
        let late = now >= self.deadline;
        if self.out + self.held >= self.bounds.window || self.held_bytes > self.bounds.held_bytes {
            return Step::Wait((!late).then_some(self.deadline));
        }
        if late {
            return self.give_up();
        }
        let Some(due) = self.next_due(now) else { return self.send(now) };
        Step::Wait(Some(due.min(self.deadline)))
    }

    /// When the next call may be made; `None`: now.
    fn next_due(&self, now: Instant) -> Option<Instant> {
        let by_pace = self.pace.ready_at(now);
        let fresh = self.next < self.targets;
        let again = self.again.front().map(|(due, _)| *due).filter(|due| *due > now && !fresh);
        by_pace.max(again)
    }

    fn send(&mut self, now: Instant) -> Step {
        let attempt = match self.again.front().copied() {
            Some((due, attempt)) if due <= now => {
                self.again.pop_front();
                attempt
            }
            _ => {
                self.next += 1;
                Attempt { target: self.next - 1, number: 1 }
            }
        };
        self.pace.sent(now);
        self.out += 1;
        Step::Send(attempt)
    }

    fn give_up(&mut self) -> Step {
        let target = match self.again.pop_front() {
            Some((_, attempt)) => attempt.target,
            None => {
                self.next += 1;
                self.next - 1
            }
        };
        self.tally.failed(Reason::Deadline, Outcome::NotExecuted);
        self.held += 1;
        Step::GiveUp(target)
    }

    /// A call was answered with this many bytes.
    pub(crate) fn answered(&mut self, bytes: u64) {
        self.out -= 1;
        self.tally.answered();
        self.held += 1;
        self.held_bytes += bytes;
    }

    /// A call failed.
    pub(crate) fn failed(&mut self, attempt: Attempt, failure: &Failure, now: Instant) -> Verdict {
        self.out -= 1;
        let due = now + self.bounds.pause;
        let again = failure.retryable()
            && attempt.number < self.bounds.attempts
            && self.again.len() < self.bounds.again
            && due < self.deadline;
        if again {
            self.again.push_back((due, Attempt { number: attempt.number + 1, ..attempt }));
            return Verdict::Again;
        }
        self.tally.failed(failure.reason, failure.outcome);
        self.held += 1;
        Verdict::Result
    }

    /// The reader has taken a result with this many bytes.
    pub(crate) fn taken(&mut self, bytes: u64) {
        self.held -= 1;
        self.held_bytes -= bytes;
    }

    /// How the results add up so far; once it is over, to the number of devices.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }
}
