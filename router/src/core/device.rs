//! One device's session at its holder: what it may be given, what waits, how each call ends.
//!
//! A place on the device is freed by result, refusal, acknowledged cancel or the session's end, never by a deadline
//! alone: the handler may still be running. What a lost connection does to its calls is told in `absence`.

mod absence;

use std::time::Duration;

use hashbrown::HashMap;
use tokio::time::Instant;

use super::{
    in_flight::{Entry, InFlight, Named, Phase, Tag},
    queue::{Popped, Queue},
    slow_start::SlowStart,
    token::CallToken,
};
use crate::outcome::{Outcome, Stage};

/// A device's session: `W` waits for a call, `C` is what the device is told.
#[derive(Debug)]
pub(crate) struct Device<W, C> {
    capacity: u32,
    occupied: u32,
    standing: Standing,
    slow_start: SlowStart,
    /// How long the device takes for a call, on average of the last ones.
    pace: Option<Duration>,
    queue: Queue,
    calls: InFlight<W, C>,
    /// The calls that the device was told of on an earlier connection, by the name that it still knows.
    carried: HashMap<CallToken, Tag>,
    /// Places taken by calls of the device's former sessions.
    former: u32,
}

/// Whether a session takes new calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It does.
    Serving,
    /// It failed its health call: calls that it has go on, new ones are refused.
    Ejected,
    /// It only delivers results: a newer session of the same instance took over.
    Retiring,
    /// Its connection is lost; the device may come back to it.
    Suspended,
}

/// Whether a call may wait for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queueing {
    /// It may.
    Allowed,
    /// Others may have room now.
    Forbidden,
}

/// Where an accepted call went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// It has its place; the transport is to be told.
    Ready(Tag),
    /// It waits.
    Queued(Tag),
}

/// Why a call was not accepted. It was not executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// All places are taken, and it may not wait.
    Busy,
    /// All places are taken, and so is the queue.
    QueueFull,
    /// The device failed its health call.
    Ejected,
    /// The session is retiring.
    Retiring,
    /// The device's connection is lost.
    Suspended,
}

/// What the transport gets when it comes for a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken<W, C> {
    /// The call, and how long the caller still waits.
    Call(C, Duration),
    /// Nothing: its time ran out before.
    Late(W),
    /// Nothing: it was cancelled before.
    Gone,
}

/// Where the time of an answered call went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    /// Waiting for room.
    pub(crate) queue: Duration,
    /// Waiting for the transport.
    pub(crate) write: Duration,
    /// On the device.
    pub(crate) device: Duration,
}

/// What became of a call that its caller gave up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cancelled<W> {
    /// It was over already.
    Gone,
    /// The device never got it.
    Unsent(W, Stage),
    /// The device has it and is to be told.
    Sent(W),
}

/// A call that ended without an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended<W> {
    /// Who waited.
    pub(crate) waiter: W,
    /// Where it stood.
    pub(crate) stage: Stage,
    /// What is known about its execution.
    pub(crate) outcome: Outcome,
    /// Set if the device has it and is to be told.
    pub(crate) cancel: Option<Tag>,
}

impl<W, C> Device<W, C> {
    /// A session without calls.
    pub(crate) fn new(capacity: u32, queue_capacity: usize) -> Self {
        Self {
            capacity,
            occupied: 0,
            standing: Standing::Serving,
            slow_start: SlowStart::default(),
            pace: None,
            queue: Queue::new(queue_capacity),
            calls: InFlight::new(),
            carried: HashMap::new(),
            former: 0,
        }
    }

    /// Places taken, including those of cancelled calls that the device still runs.
    pub(crate) fn occupied(&self) -> u32 {
        self.occupied
    }

    /// Calls that wait for room.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Calls known here in any phase.
    pub(crate) fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Changes the capacity. Calls above a smaller one finish; [`Self::promote`] fills a larger one.
    pub(crate) fn set_capacity(&mut self, capacity: u32) {
        self.capacity = capacity;
    }

    /// The device has just come back: its share of its capacity and queue rises from a tenth.
    pub(crate) fn start_slowly(&mut self, now: Instant) {
        self.slow_start = SlowStart::from(now);
    }

    /// How much of its capacity it gets now.
    pub(crate) fn limit(&self, now: Instant) -> u32 {
        u32::try_from(self.slow_start.of(self.capacity as usize, now)).unwrap_or(u32::MAX)
    }

    /// The same, in percent.
    pub(crate) fn percent(&self, now: Instant) -> u32 {
        self.slow_start.percent(now)
    }

    /// No new calls until [`Self::let_back`]; those that the transport has not taken end.
    pub(crate) fn eject(&mut self, ended: &mut Vec<Ended<W>>) {
        if self.standing == Standing::Serving {
            self.standing = Standing::Ejected;
            self.end_unsent(ended);
        }
    }

    /// The device takes calls again, few at first.
    pub(crate) fn let_back(&mut self, now: Instant) {
        if self.standing == Standing::Ejected {
            self.standing = Standing::Serving;
            self.start_slowly(now);
        }
    }

    /// How long until a further call would have a place, by the pace of the last ones; `None`: it has answered none.
    pub(crate) fn backlog(&self) -> Option<Duration> {
        let ahead = u32::try_from(self.queue.len()).unwrap_or(u32::MAX).saturating_add(1);
        Some(self.pace?.saturating_mul(ahead) / self.capacity.max(1))
    }

    /// Since when the device owes its word on the call that was cancelled first.
    pub(crate) fn unreturned(&self) -> Option<Instant> {
        self.calls.unreturned()
    }

    /// A new call. `content` is made only if it is accepted.
    ///
    /// # Errors
    /// [`Refusal`], with the waiter.
    pub(crate) fn admit(
        &mut self,
        waiter: W,
        content: impl FnOnce() -> C,
        named: Named,
        queueing: Queueing,
        now: Instant,
    ) -> Result<Admitted, (W, Refusal)> {
        match self.standing {
            Standing::Serving => {}
            Standing::Ejected => return Err((waiter, Refusal::Ejected)),
            Standing::Retiring => return Err((waiter, Refusal::Retiring)),
            Standing::Suspended => return Err((waiter, Refusal::Suspended)),
        }
        if self.occupied < self.limit(now) && self.queue.len() == 0 {
            let phase = Phase::Ready { content: content(), queued: Duration::ZERO, since: now };
            self.occupied += 1;
            return Ok(Admitted::Ready(self.calls.insert(waiter, named, phase)));
        }
        if queueing == Queueing::Forbidden || self.queue.capacity() == 0 {
            return Err((waiter, Refusal::Busy));
        }
        if self.queue.len() >= self.slow_start.of(self.queue.capacity(), now) {
            return Err((waiter, Refusal::QueueFull));
        }
        let tag = self.calls.insert(waiter, named, Phase::Queued { content: content(), since: now });
        self.queue.push(tag, named.deadline);
        Ok(Admitted::Queued(tag))
    }

    /// Moves the next call from the queue to a free place: to be asked again until `None`, after any input that may
    /// have freed one. Calls that became too late meanwhile are put into `ended`.
    pub(crate) fn promote(&mut self, now: Instant, ended: &mut Vec<Ended<W>>) -> Option<Tag> {
        while self.occupied < self.limit(now) {
            match self.queue.pop(now)? {
                Popped::Late(tag) => self.end_late(tag, ended),
                Popped::Due(tag) => {
                    let Some(entry) = self.calls.get_mut(tag) else { continue };
                    let phase = std::mem::replace(&mut entry.phase, Phase::Cancelling { since: now });
                    let Phase::Queued { content, since } = phase else { continue };
                    entry.phase =
                        Phase::Ready { content, queued: now.saturating_duration_since(since), since: now };
                    self.occupied += 1;
                    return Some(tag);
                }
            }
        }
        None
    }

    fn end_late(&mut self, tag: Tag, ended: &mut Vec<Ended<W>>) {
        if let Some(waiter) = self.calls.remove(tag).and_then(|entry| entry.waiter) {
            ended.push(Ended { waiter, stage: Stage::Queue, outcome: Outcome::NotExecuted, cancel: None });
        }
    }

    /// The transport comes for a call that was [`Admitted::Ready`] or promoted.
    pub(crate) fn take(&mut self, tag: Tag, now: Instant) -> Taken<W, C> {
        let Some(entry) = self.calls.get_mut(tag) else { return Taken::Gone };
        let Phase::Ready { queued, since, .. } = entry.phase else { return Taken::Gone };
        let remaining = entry.deadline.saturating_duration_since(now);
        if remaining.is_zero() {
            let waiter = self.remove(tag).and_then(|entry| entry.waiter);
            return waiter.map_or(Taken::Gone, Taken::Late);
        }
        let written = Phase::Written { queued, write: now.saturating_duration_since(since), since: now };
        match std::mem::replace(&mut entry.phase, written) {
            Phase::Ready { content, .. } => Taken::Call(content, remaining),
            Phase::Queued { .. } | Phase::Written { .. } | Phase::Cancelling { .. } => Taken::Gone,
        }
    }

    /// The device is done with a call: result, refusal or acknowledged cancel. Its place is free. `None`: the call is
    /// not known, or nobody waits any more.
    pub(crate) fn finish(&mut self, tag: Tag, now: Instant) -> Option<(W, Spent)> {
        // A tag that was not written yet is made up: the device cannot know it.
        let entry = self
            .calls
            .get(tag)
            .filter(|entry| matches!(entry.phase, Phase::Written { .. } | Phase::Cancelling { .. }));
        entry?;
        let entry = self.remove(tag)?;
        let Phase::Written { queued, write, since } = entry.phase else { return None };
        let device = now.saturating_duration_since(since);
        self.pace = Some(self.pace.map_or(device, |pace| (pace * 7 + device) / 8));
        entry.waiter.map(|waiter| (waiter, Spent { queue: queued, write, device }))
    }

    /// Whether the device has this call: an answer to it may come.
    pub(crate) fn expects(&self, tag: Tag) -> bool {
        self.calls
            .get(tag)
            .is_some_and(|entry| matches!(entry.phase, Phase::Written { .. } | Phase::Cancelling { .. }))
    }

    /// The caller gave up, or its time ran out.
    pub(crate) fn cancel(&mut self, tag: Tag, now: Instant) -> Cancelled<W> {
        let Some(entry) = self.calls.get_mut(tag) else { return Cancelled::Gone };
        if let Phase::Written { .. } = entry.phase {
            entry.phase = Phase::Cancelling { since: now };
        }
        if let Phase::Cancelling { .. } = entry.phase {
            return entry.waiter.take().map_or(Cancelled::Gone, Cancelled::Sent);
        }
        let Some(entry) = self.remove(tag) else { return Cancelled::Gone };
        let stage = if entry.phase.occupies() { Stage::Write } else { Stage::Queue };
        self.queue.remove(tag);
        entry.waiter.map_or(Cancelled::Gone, |waiter| Cancelled::Unsent(waiter, stage))
    }

    /// Ends the calls whose deadline has passed. The backstop: callers usually cancel in time.
    pub(crate) fn expire(&mut self, now: Instant, ended: &mut Vec<Ended<W>>) {
        for tag in self.calls.overdue(now) {
            match self.cancel(tag, now) {
                Cancelled::Gone => {}
                Cancelled::Unsent(waiter, stage) => {
                    ended.push(Ended { waiter, stage, outcome: Outcome::NotExecuted, cancel: None });
                }
                Cancelled::Sent(waiter) => ended.push(Ended {
                    waiter,
                    stage: Stage::Device,
                    outcome: Outcome::Unknown,
                    cancel: Some(tag),
                }),
            }
        }
    }

    /// No new calls from now on; those that the transport has not taken end, results of the others pass.
    pub(crate) fn retire(&mut self, ended: &mut Vec<Ended<W>>) {
        self.standing = Standing::Retiring;
        self.end_unsent(ended);
    }

    /// Ends the calls that the transport has not taken; the others and later ones go on.
    pub(crate) fn end_unsent(&mut self, ended: &mut Vec<Ended<W>>) {
        self.queue.take_all();
        for tag in self.calls.unsent() {
            let Some(entry) = self.remove(tag) else { continue };
            let stage = if entry.phase.occupies() { Stage::Write } else { Stage::Queue };
            let outcome = Outcome::NotExecuted;
            ended.extend(entry.waiter.map(|waiter| Ended { waiter, stage, outcome, cancel: None }));
        }
    }

    /// The session is over: all calls end.
    pub(crate) fn end(&mut self, ended: &mut Vec<Ended<W>>) {
        self.standing = Standing::Retiring;
        self.occupied = 0;
        self.former = 0;
        self.carried.clear();
        self.queue.take_all();
        for entry in self.calls.drain() {
            let (stage, outcome) = match entry.phase {
                Phase::Queued { .. } => (Stage::Queue, Outcome::NotExecuted),
                Phase::Ready { .. } => (Stage::Write, Outcome::NotExecuted),
                Phase::Written { .. } | Phase::Cancelling { .. } => (Stage::Device, Outcome::Unknown),
            };
            ended.extend(entry.waiter.map(|waiter| Ended { waiter, stage, outcome, cancel: None }));
        }
    }

    fn remove(&mut self, tag: Tag) -> Option<Entry<W, C>> {
        let entry = self.calls.remove(tag)?;
        self.occupied -= u32::from(entry.phase.occupies());
        Some(entry)
    }
}
