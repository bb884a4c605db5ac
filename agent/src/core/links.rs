//! The life of connections: which to dial when, which takes over, which ends.

use std::time::Duration;

use rollcall_proto::device::{self as wire, CloseCode, attach_request::Frame};

use super::{
    Core, Moment, Stopping, backoff,
    effect::{Effect, Note},
    input::{Fault, LinkId},
    link::{Link, Phase},
    slot_of,
    verdict::Verdict,
};
use crate::{
    limits,
    state::{AgentState, StopReason},
};

impl Core {
    pub(super) fn connected(&mut self, id: LinkId, now: Duration) {
        if let Some(link) = self.links.get_mut(&id).filter(|link| link.phase == Phase::Dialling) {
            link.phase = Phase::Greeting { until: now + limits::WELCOME_PATIENCE };
            link.heard = now;
        }
    }

    /// Whether a connection is to be opened as soon as it may.
    pub(super) fn wants_dial(&self) -> bool {
        let primary = self.primary.and_then(|id| self.links.get(&id));
        let settled = primary.is_some_and(|link| link.phase != Phase::Leaving);
        !settled && self.next.is_none() && self.stopping.is_none()
    }

    /// When: not before any device may attach.
    pub(super) fn dial_due(&self) -> Option<Duration> {
        let attach =
            self.sessions.iter().filter(|session| !session.over).map(|session| session.retry_at).min()?;
        Some(attach.max(self.dial_at))
    }

    pub(super) fn dial(&mut self, at: Moment, out: &mut Vec<Effect>) {
        if !self.wants_dial() || self.dial_due().is_none_or(|due| due > at.now) {
            return;
        }
        let server = self.servers.next(at.random);
        self.last_link += 1;
        let id = LinkId(self.last_link);
        for device in (0..self.sessions.len()).filter(|device| !self.sessions[*device].over) {
            if !self.is_attached(device) {
                out.push(Effect::State(device, AgentState::Connecting { server: server.clone() }));
            }
        }
        self.links.insert(id, Link::new(server.clone(), self.sessions.len(), at.now));
        if self.primary.is_none() {
            self.primary = Some(id);
        } else {
            self.next = Some(id);
        }
        out.push(Effect::Dial(id, server));
    }

    /// The next connection takes over once it holds every device that the primary holds.
    pub(super) fn promote(&mut self, now: Duration) {
        let Some(next) = self.next else { return };
        let Some(new) = self.links.get(&next) else { return };
        let old = self.primary.and_then(|id| self.links.get(&id));
        let moved = |device| old.is_none_or(|old| !old.holds(device)) || new.holds(device);
        if old.is_some() && (new.phase != Phase::Open || !(0..self.sessions.len()).all(moved)) {
            return;
        }
        if let Some(old) = self.primary.and_then(|id| self.links.get_mut(&id)) {
            old.phase = Phase::Retiring { until: now + limits::RETIRE_GRACE };
        }
        self.primary = self.next.take();
    }

    /// Ends retired connections whose node knows of the move and to which nothing is owed, and one on which nobody will
    /// attach soon.
    ///
    /// The new session is known here before the old node has heard of it: until that says so, its calls are on their way,
    /// and an end would leave their callers without a word.
    pub(super) fn end_idle(&mut self, now: Duration, out: &mut Vec<Effect>) {
        let soon = self.sessions.iter().any(|s| !s.over && s.retry_at <= now + limits::IDLE_LINK);
        let idle = |id: &LinkId, link: &Link| match link.phase {
            Phase::Retiring { .. } => !link.in_use() && !self.calls.owed_on(*id),
            Phase::Open => !soon && !link.in_use() && !self.calls.owed_on(*id),
            Phase::Dialling | Phase::Greeting { .. } | Phase::Leaving | Phase::Ending { .. } => false,
        };
        let ids: Vec<LinkId> =
            self.links.iter().filter(|(id, link)| idle(id, link)).map(|(id, _)| *id).collect();
        for id in ids {
            self.end(id, now, out);
        }
    }

    /// Has another connection opened: this one goes on until that takes over, or ends if nobody needs it.
    pub(super) fn leave(&mut self, id: LinkId, now: Duration, out: &mut Vec<Effect>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let replaceable = self.primary == Some(id) || link.phase != Phase::Open;
        if !replaceable || !(link.in_use() || self.calls.owed_on(id)) {
            return self.end(id, now, out);
        }
        if link.phase == Phase::Open {
            link.phase = Phase::Leaving;
        }
    }

    /// Lets a connection's last frames go out, then ends it.
    pub(super) fn end(&mut self, id: LinkId, now: Duration, out: &mut Vec<Effect>) {
        if let Some(link) = self.links.get_mut(&id) {
            link.phase = Phase::Ending { until: now + limits::FAREWELL };
            out.push(Effect::End(id));
        }
        self.forget_role(id);
    }

    pub(super) fn drop_silent(&mut self, at: Moment, out: &mut Vec<Effect>) {
        let late = |link: &Link| link.patience().filter(|(until, _)| *until <= at.now).map(|(_, why)| why);
        let late: Vec<_> = self.links.iter().filter_map(|(id, link)| Some((*id, late(link)?))).collect();
        for (id, why) in late {
            out.push(Effect::Drop(id));
            self.lost(id, &Fault::transient(why), at, out);
        }
    }

    /// A connection is gone, or never came to be.
    pub(super) fn lost(&mut self, id: LinkId, fault: &Fault, at: Moment, out: &mut Vec<Effect>) {
        self.lost_until(id, fault, None, at, out);
    }

    /// [`Core::lost`], with the node's word on how long to wait.
    pub(super) fn lost_until(
        &mut self,
        id: LinkId,
        fault: &Fault,
        advice: Option<Duration>,
        at: Moment,
        out: &mut Vec<Effect>,
    ) {
        let Some(link) = self.links.remove(&id) else { return };
        self.calls.unlink(id, None, at.now);
        for device in (0..self.sessions.len()).filter(|device| link.holds(*device)) {
            if !self.is_attached(device) {
                self.sessions[device].lost_at.get_or_insert(at.now);
                out.push(Effect::Note(device, Note::Lost));
            }
        }
        let had_role = self.forget_role(id);
        if !had_role || self.stopping.is_some() {
            return;
        }
        let failures = self.failures;
        self.failures = failures.saturating_add(1);
        for device in (0..self.sessions.len()).filter(|device| link.lasted(*device, at.now)) {
            self.sessions[device].failures = 0;
            self.failures = 1;
        }
        let failures = failures.min(self.failures - 1);
        let pause = match Verdict::from(fault.code) {
            Verdict::Stop => return self.stop_all(fault, out),
            Verdict::Minute => backoff::minute(at.random),
            Verdict::Retry | Verdict::Elsewhere => backoff::pause(failures, self.servers.len(), at.random),
        };
        // A node that said when to come back has set the time already.
        if link.phase != Phase::Leaving || self.dial_at <= at.now {
            self.dial_at = at.now + advice.unwrap_or(pause);
        }
        self.report_wait(fault, at.now, out);
    }

    /// Tells the devices that are attached nowhere that they wait.
    pub(super) fn report_wait(&self, fault: &Fault, now: Duration, out: &mut Vec<Effect>) {
        for device in (0..self.sessions.len()).filter(|device| !self.sessions[*device].over) {
            let told_when = self.sessions[device].retry_at > now + limits::IDLE_LINK;
            if self.is_attached(device) || told_when {
                continue;
            }
            let retry_in = self.retry_in(device, now);
            out.push(Effect::State(device, AgentState::Waiting { why: fault.message.clone(), retry_in }));
        }
    }

    /// No device is tried any more.
    pub(super) fn stop_all(&mut self, fault: &Fault, out: &mut Vec<Effect>) {
        for device in 0..self.sessions.len() {
            self.stop_device(device, fault.code, &fault.message, out);
        }
    }

    /// A device is not tried any more.
    pub(super) fn stop_device(
        &mut self,
        device: usize,
        code: CloseCode,
        message: &str,
        out: &mut Vec<Effect>,
    ) {
        if std::mem::replace(&mut self.sessions[device].over, true) {
            return;
        }
        let reason = StopReason::Refused { code, message: message.to_owned() };
        out.push(Effect::State(device, AgentState::Stopped(reason)));
    }

    pub(super) fn say_farewell(&mut self, now: Duration, out: &mut Vec<Effect>) {
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            let Some(link) = self.links.get(&id) else { continue };
            if matches!(link.phase, Phase::Ending { .. }) {
                continue;
            }
            if matches!(link.phase, Phase::Dialling) {
                out.push(Effect::Drop(id));
                self.links.remove(&id);
                self.forget_role(id);
                continue;
            }
            for device in 0..link.slots.len() {
                if link.engages(device) {
                    let detach = wire::Detach { reason: "the agent is stopping".into() };
                    out.push(Effect::send(id, slot_of(device), Frame::Detach(detach)));
                }
            }
            self.end(id, now, out);
        }
    }

    /// Why a call cannot be taken, if the agent is on its way out.
    pub(super) fn refusal_while_stopping(&self) -> Option<&'static str> {
        self.stopping.map(|stopping| match stopping {
            Stopping::Handlers { .. } | Stopping::Farewell | Stopping::Done => "the agent is stopping",
        })
    }

    /// Whether it was the primary or the next one. The next one steps in for a lost primary.
    fn forget_role(&mut self, id: LinkId) -> bool {
        if self.next == Some(id) {
            self.next = None;
            return true;
        }
        if self.primary == Some(id) {
            self.primary = self.next.take();
            return true;
        }
        false
    }
}
