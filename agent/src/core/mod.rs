//! The agent's state machine: `(state, input, now, random) -> effects`, without clock, I/O or randomness of its own.
//!
//! At most one connection is *primary* and takes calls; a *next* one is opened beside it when a node asks its devices
//! to move; old ones *retire* until their nodes know of the move and they have delivered what they owe. Frames are
//! handled in `frames`, dials and ends of connections in `links`; calls in [`calls`].

mod assembly;
mod backoff;
mod calls;
mod effect;
mod frames;
#[cfg(test)]
mod golden;
mod input;
mod kept;
mod link;
mod links;
mod once;
mod past;
#[cfg(test)]
mod properties;
mod room;
mod servers;
mod session;
mod verdict;

use std::{collections::BTreeMap, time::Duration};

use self::{
    calls::Calls,
    link::{Link, Phase, Slot},
    servers::Servers,
};
pub(crate) use self::{
    calls::HEALTH_ACTION,
    effect::{Effect, Note},
    input::{CallId, Fault, Input, LinkId, Outcome},
    servers::url,
    session::Session,
};
use crate::{
    limits,
    state::{AgentState, StopReason},
};

/// When something happened and a random number from 0 to 1 for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Since the agent's start.
    pub(crate) now: Duration,
    /// From 0 to 1.
    pub(crate) random: f64,
}

/// All state of an agent and its devices.
#[derive(Debug)]
pub(crate) struct Core {
    instance: u64,
    attach_number: u64,
    servers: Servers,
    sessions: Vec<Session>,
    links: BTreeMap<LinkId, Link>,
    primary: Option<LinkId>,
    next: Option<LinkId>,
    last_link: u64,
    /// No dial before this.
    dial_at: Duration,
    /// Connections in a row that came to nothing.
    failures: u32,
    calls: Calls,
    stopping: Option<Stopping>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopping {
    /// Handlers may run on until then.
    Handlers {
        until: Duration,
    },
    /// Detaches are on their way.
    Farewell,
    Done,
}

impl Core {
    /// An agent of these devices that has dialled nothing yet.
    pub(crate) fn new(instance: u64, servers: Vec<String>, sessions: Vec<Session>) -> Self {
        Self {
            instance,
            attach_number: 0,
            servers: Servers::new(servers),
            sessions,
            links: BTreeMap::new(),
            primary: None,
            next: None,
            last_link: 0,
            dial_at: Duration::ZERO,
            failures: 0,
            calls: Calls::default(),
            stopping: None,
        }
    }

    /// Takes one input and adds what is to be done.
    pub(crate) fn handle(&mut self, input: Input, at: Moment, out: &mut Vec<Effect>) {
        self.take(input, at, out);
        self.calls.give_credit(out);
    }

    fn take(&mut self, input: Input, at: Moment, out: &mut Vec<Effect>) {
        match input {
            Input::Tick => self.calls.expire(at.now),
            Input::Connected(link) => self.connected(link, at.now),
            Input::Lost(link, fault) => self.lost(link, &fault, at, out),
            Input::Frame(link, slot, frame) => {
                if !self.frame(link, slot, frame, at, out) {
                    return;
                }
            }
            Input::Finished(call, outcome) => {
                self.finished(call, outcome, at.now, out);
                if self.is_steady() {
                    return;
                }
            }
            Input::Written(call) => {
                self.calls.written(call, at.now);
                if self.is_steady() {
                    return;
                }
            }
            Input::Stop(grace) => self.stop(at.now + grace),
        }
        self.settle(at, out);
    }

    /// When `Tick` is due, whatever else happens.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        let links = self.links.values().filter_map(|link| link.patience().map(|(until, _)| until));
        let stop = match self.stopping {
            Some(Stopping::Handlers { until }) => Some(until),
            Some(Stopping::Farewell | Stopping::Done) => None,
            None => self.next_step(),
        };
        links.chain(stop).min()
    }

    /// When the next dial or attach is due.
    fn next_step(&self) -> Option<Duration> {
        let dial = self.wants_dial().then(|| self.dial_due()).flatten();
        let attach = self.sessions.iter().enumerate().filter_map(|(device, session)| {
            let free = |id: &LinkId| self.links.get(id).is_some_and(|link| attachable(link, device));
            let waits = !session.over && [self.primary, self.next].iter().flatten().any(free);
            waits.then_some(session.retry_at)
        });
        attach.chain(dial).min()
    }

    /// Whether no connection and no stop waits for the end of a call.
    fn is_steady(&self) -> bool {
        self.stopping.is_none() && self.links.values().all(|link| link.phase == Phase::Open && link.in_use())
    }

    /// Does what the state asks for, whatever brought it about.
    fn settle(&mut self, at: Moment, out: &mut Vec<Effect>) {
        self.drop_silent(at, out);
        if self.stopping.is_some() {
            return self.settle_stop(at.now, out);
        }
        self.promote(at.now);
        self.attach_all(at, out);
        self.end_idle(at.now, out);
        self.dial(at, out);
        if self.sessions.iter().all(|session| session.over) {
            self.stop(at.now);
            self.settle_stop(at.now, out);
        }
    }

    fn finished(&mut self, call: CallId, outcome: Outcome, now: Duration, out: &mut Vec<Effect>) {
        let (primary, links) = (self.primary, &self.links);
        let link =
            primary.and_then(|id| links.get(&id)).filter(|link| !matches!(link.phase, Phase::Ending { .. }));
        let max_payload = link.map_or(limits::PAYLOAD_BYTES, |link| link.max_payload);
        let home = |device| {
            link.filter(|link| link.takes_replays(device)).and(primary).map(|id| (id, slot_of(device)))
        };
        self.calls.finished(call, outcome, max_payload, home, now, out);
    }

    fn attach_all(&mut self, at: Moment, out: &mut Vec<Effect>) {
        for id in [self.primary, self.next].into_iter().flatten() {
            for device in 0..self.sessions.len() {
                let alone = !self.is_used_beside(id, device);
                let Some(link) = self.links.get_mut(&id) else { break };
                let session = &self.sessions[device];
                if session.over || session.retry_at > at.now || !attachable(link, device) {
                    continue;
                }
                link.slots[device] = Slot::Attaching { until: at.now + limits::ATTACH_PATIENCE };
                self.attach_number += 1;
                let mut attach = session.attach(self.instance, self.attach_number);
                self.calls.list(device, at.now, &mut attach);
                // On an older stream, calls may still come.
                attach.lists_all &= alone;
                let frame = rollcall_proto::device::attach_request::Frame::Attach(attach);
                out.push(Effect::send(id, slot_of(device), frame));
            }
        }
    }

    fn stop(&mut self, until: Duration) {
        if self.stopping.is_none() {
            self.stopping = Some(Stopping::Handlers { until });
        }
    }

    /// Handlers first, then Detach, then the ends of all connections.
    fn settle_stop(&mut self, now: Duration, out: &mut Vec<Effect>) {
        if let Some(Stopping::Handlers { until }) = self.stopping {
            if self.calls.len() > 0 && now < until {
                return;
            }
            self.stopping = Some(Stopping::Farewell);
            self.calls.abort_all(out);
            self.say_farewell(now, out);
        }
        if self.stopping == Some(Stopping::Farewell) && self.links.is_empty() {
            self.stopping = Some(Stopping::Done);
            for (device, session) in self.sessions.iter_mut().enumerate().filter(|(_, session)| !session.over)
            {
                session.over = true;
                out.push(Effect::State(device, AgentState::Stopped(StopReason::Shutdown)));
            }
            out.push(Effect::Done);
        }
    }

    /// How long from now until a device, or its connection, is tried again.
    fn retry_in(&self, device: usize, now: Duration) -> Duration {
        self.sessions[device].retry_at.max(self.dial_at).saturating_sub(now)
    }

    /// Whether a device is attached anywhere.
    fn is_attached(&self, device: usize) -> bool {
        self.links.values().any(|link| !matches!(link.phase, Phase::Ending { .. }) && link.holds(device))
    }

    /// Whether calls of a device may still come, or be answered, on another connection than this.
    fn is_used_beside(&self, id: LinkId, device: usize) -> bool {
        let beside = |(other, link): (&LinkId, &Link)| {
            *other != id
                && !matches!(link.phase, Phase::Ending { .. })
                && link.slots.get(device).is_some_and(|slot| *slot != Slot::Free)
        };
        self.links.iter().any(beside)
    }

    /// Whether a device is attached, or about to be, on another connection than this.
    fn is_engaged_beside(&self, id: LinkId, device: usize) -> bool {
        let beside = |(other, link): (&LinkId, &Link)| {
            *other != id && !matches!(link.phase, Phase::Ending { .. }) && link.engages(device)
        };
        self.links.iter().any(beside)
    }
}

/// The slot of a device: the same on each connection. 0 is the connection's own.
fn slot_of(device: usize) -> u32 {
    u32::try_from(device + 1).unwrap_or(u32::MAX)
}

/// The device of a slot.
fn device_of(slot: u32) -> Option<usize> {
    (slot as usize).checked_sub(1)
}

fn attachable(link: &Link, device: usize) -> bool {
    link.phase == Phase::Open && device < link.max_slots && link.slots.get(device) == Some(&Slot::Free)
}
