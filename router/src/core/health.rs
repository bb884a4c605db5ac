//! Whether a device's handlers are alive: calls that time out only raise the suspicion, a health call decides.
//!
//! Calls are legitimately slow, so that no number of timeouts keeps a device out. Three in a row, or a place that is not
//! given back, make it *suspect*: the built-in action `rollcall.health` is called, which runs where the handlers run.
//! Only its failure *ejects* the device; an answer, however late, lets it back.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits;

/// What is known of a device's handlers.
#[derive(Debug)]
pub(crate) struct Health {
    standing: Standing,
    /// Calls in a row whose time ran out on the device.
    timeouts: u32,
    /// When the health call that was not answered yet was sent.
    probed: Option<Instant>,
    /// No health call before this.
    next_probe: Option<Instant>,
    /// Between two health calls of an ejected device; doubles.
    pause: Duration,
    probes: u32,
    /// The agent knows no health action: nothing can be decided.
    mute: bool,
}

/// Where a device stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing speaks against it.
    Well,
    /// Its calls time out; it still gets calls.
    Suspect,
    /// It failed its health call; it gets no calls.
    Ejected,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Send the health call with this number.
    Probe(u32),
    /// The device gets no calls from now on.
    Eject,
    /// The device gets calls again, few at first.
    LetBack,
}

/// How a health call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProbeEnd {
    /// It was answered.
    Alive,
    /// It failed, or was stopped.
    Failed,
    /// It was refused: that says nothing about the handlers.
    Refused,
    /// The agent does not know the action.
    Unknown,
}

impl Health {
    /// A device of which nothing is known.
    pub(crate) fn new() -> Self {
        Self {
            standing: Standing::Well,
            timeouts: 0,
            probed: None,
            next_probe: None,
            pause: limits::PROBE_PAUSE,
            probes: 0,
            mute: false,
        }
    }

    /// Where it stands.
    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    /// It answered a call: a handler ran to its end.
    pub(crate) fn answered(&mut self) {
        self.timeouts = 0;
        if self.standing == Standing::Suspect {
            self.standing = Standing::Well;
        }
    }

    /// A call's time ran out while the device had it.
    pub(crate) fn timed_out(&mut self, now: Instant) -> Option<Order> {
        self.timeouts = self.timeouts.saturating_add(1);
        if self.timeouts < limits::SUSPECT_TIMEOUTS { None } else { self.suspect(now) }
    }

    /// The clock moved on. `unreturned`: since when the oldest cancelled call holds its place.
    pub(crate) fn tick(&mut self, unreturned: Option<Instant>, now: Instant) -> Option<Order> {
        let since = |at: Instant| now.saturating_duration_since(at);
        match self.standing {
            Standing::Well if unreturned.is_some_and(|at| since(at) >= limits::UNRETURNED) => {
                self.suspect(now)
            }
            Standing::Well => None,
            Standing::Suspect if self.probed.is_some_and(|at| since(at) >= limits::PROBE_PATIENCE) => {
                Some(self.eject(now))
            }
            Standing::Suspect => self.probe(now),
            Standing::Ejected => {
                if self.probed.is_some_and(|at| since(at) >= limits::PROBE_PATIENCE) {
                    // It may still be answered; another one asks again.
                    self.probed = None;
                }
                self.probe(now)
            }
        }
    }

    /// A health call ended.
    pub(crate) fn probed(&mut self, end: ProbeEnd, now: Instant) -> Option<Order> {
        self.probed = None;
        match (self.standing, end) {
            (standing, ProbeEnd::Alive) => {
                self.timeouts = 0;
                self.pause = limits::PROBE_PAUSE;
                self.next_probe = Some(now + self.pause);
                self.standing = Standing::Well;
                (standing == Standing::Ejected).then_some(Order::LetBack)
            }
            (Standing::Suspect, ProbeEnd::Failed) => Some(self.eject(now)),
            (Standing::Well | Standing::Ejected, ProbeEnd::Failed) | (_, ProbeEnd::Refused) => None,
            (standing, ProbeEnd::Unknown) => {
                self.mute = true;
                self.standing = Standing::Well;
                (standing == Standing::Ejected).then_some(Order::LetBack)
            }
        }
    }

    fn suspect(&mut self, now: Instant) -> Option<Order> {
        if self.mute || self.standing == Standing::Ejected {
            return None;
        }
        if self.next_probe.is_some_and(|at| at > now) {
            return None;
        }
        self.standing = Standing::Suspect;
        self.probe(now)
    }

    fn probe(&mut self, now: Instant) -> Option<Order> {
        if self.mute || self.probed.is_some() || self.next_probe.is_some_and(|at| at > now) {
            return None;
        }
        self.probed = Some(now);
        self.probes = self.probes.wrapping_add(1);
        self.next_probe = Some(now + self.pause);
        if self.standing == Standing::Ejected {
            self.pause = (self.pause * 2).min(limits::PROBE_PAUSE_MOST);
        }
        Some(Order::Probe(self.probes))
    }

    fn eject(&mut self, now: Instant) -> Order {
        self.standing = Standing::Ejected;
        self.next_probe = Some(now + self.pause);
        Order::Eject
    }
}

#[cfg(test)]
#[path = "health/tests.rs"]
mod tests;
