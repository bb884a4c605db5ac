//! What each frame of a node does.

use std::time::Duration;

use rollcall_proto::device::{self as wire, CloseCode, attach_request, attach_response::Frame};

use super::{
    Core, Moment, backoff,
    calls::{Admission, Route, duration},
    device_of,
    effect::{Effect, Note},
    input::{Fault, LinkId},
    link::{Flow, Link, Phase, Replays, Slot},
    slot_of,
    verdict::Verdict,
};
use crate::{limits, state::AgentState};

/// A refusal or an end of a session, in whichever frame it came.
struct Refusal {
    code: CloseCode,
    message: String,
    retry_after: Option<Duration>,
    try_addrs: Vec<String>,
}

impl Core {
    /// Handles a frame. Whether the state of sessions or connections may have changed.
    pub(super) fn frame(
        &mut self,
        id: LinkId,
        slot: u32,
        frame: Frame,
        at: Moment,
        out: &mut Vec<Effect>,
    ) -> bool {
        // Nothing can be answered any more on a connection that ends.
        let open = |link: &&mut Link| !matches!(link.phase, Phase::Ending { .. });
        let Some(link) = self.links.get_mut(&id).filter(open) else { return false };
        link.heard = at.now;
        let device = device_of(slot).filter(|device| *device < self.sessions.len());
        match (frame, device) {
            (Frame::Call(call), Some(device)) => {
                self.call(id, device, call, at.now, out);
                return false;
            }
            (Frame::Chunk(chunk), Some(_)) => {
                let route = Route { link: id, slot, tag: chunk.tag };
                if self.calls.chunk(route, &chunk, at.now, out).is_err() {
                    out.push(Effect::Drop(id));
                    self.lost(
                        id,
                        &Fault::transient("a payload's parts do not add up to its length"),
                        at,
                        out,
                    );
                    return true;
                }
                return false;
            }
            (Frame::Cancel(cancel), Some(device)) if cancel.tag == 0 => {
                self.calls.cancel_by_token(&cancel.token, (id, slot), device, at.now, out);
                return false;
            }
            (Frame::Cancel(cancel), Some(_)) => {
                self.calls.cancel(Route { link: id, slot, tag: cancel.tag }, at.now, out);
                return false;
            }
            (Frame::Ping(ping), _) => {
                let pong = wire::Pong { number: ping.number };
                out.push(Effect::send(id, 0, attach_request::Frame::Pong(pong)));
                return false;
            }
            (Frame::Welcome(welcome), _) => self.welcome(id, &welcome, at.now, out),
            (Frame::Attached(attached), Some(device)) => self.attached(id, device, attached, at, out),
            (Frame::AttachRefused(refused), Some(device)) => {
                let refusal = Refusal {
                    code: refused.code(),
                    message: refused.message,
                    retry_after: refused.retry_after.map(duration),
                    try_addrs: refused.try_addrs,
                };
                self.refused(id, device, refusal, at, out);
            }
            (Frame::Closed(closed), Some(device)) => {
                let refusal = Refusal {
                    code: closed.code(),
                    message: closed.message,
                    retry_after: closed.retry_after.map(duration),
                    try_addrs: Vec::new(),
                };
                self.refused(id, device, refusal, at, out);
            }
            (Frame::Superseded(superseded), Some(device)) => {
                self.superseded(id, device, &superseded, at, out)
            }
            (Frame::GoAway(go_away), _) => self.go_away(id, &go_away, at, out),
            (Frame::Reauth(_), _) => {
                out.push(Effect::Renew(id));
                return false;
            }
            (Frame::Credit(credit), Some(_)) => {
                out.push(Effect::Credit(id, slot, credit.tag, credit.bytes));
                return false;
            }
            // Nothing was updated.
            (Frame::Updated(_), _) => return false,
            // A slot that was never used: nothing that it could mean.
            (_, None) => return false,
        }
        true
    }

    fn call(
        &mut self,
        id: LinkId,
        device: usize,
        call: Box<wire::Call>,
        now: Duration,
        out: &mut Vec<Effect>,
    ) {
        let session = &self.sessions[device];
        let Some(link) = self.links.get(&id) else { return };
        let (max_payload, flow) = (link.max_payload, link.flow);
        let stopping = self.refusal_while_stopping();
        let by = Admission {
            device,
            profile: &session.profile,
            newest: session.newest,
            max_payload,
            flow,
            stopping,
        };
        let route = Route { link: id, slot: slot_of(device), tag: call.tag };
        self.calls.call(route, call, &by, now, out);
    }

    fn welcome(&mut self, id: LinkId, welcome: &wire::Welcome, now: Duration, out: &mut Vec<Effect>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if !matches!(link.phase, Phase::Dialling | Phase::Greeting { .. }) {
            return;
        }
        link.welcome(welcome);
        let window = welcome.resume_window.map_or(limits::RESUME_WINDOW, duration);
        self.calls.remember_for(link.heartbeat, window);
        let chunk_bytes = match welcome.chunk_bytes as usize {
            0 => limits::CHUNK_BYTES,
            bytes => bytes.min(limits::FRAME_BYTES / 2),
        };
        out.push(Effect::ChunkBytes(id, chunk_bytes));
        let (max_slots, flow) = (link.max_slots, link.flow);
        if flow == Flow::OnCredit {
            out.push(Effect::WaitForCredit(id));
        }
        self.servers.learn(&welcome.device_addrs);
        for device in max_slots..self.sessions.len() {
            let message = format!("the node takes {max_slots} devices on one connection");
            let state =
                AgentState::Refused { code: CloseCode::Overloaded, message, retry_in: limits::BACKOFF_MAX };
            self.sessions[device].retry_at = now + limits::BACKOFF_MAX;
            out.push(Effect::State(device, state));
        }
    }

    fn attached(
        &mut self,
        id: LinkId,
        device: usize,
        attached: wire::Attached,
        at: Moment,
        out: &mut Vec<Effect>,
    ) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let resumed = attached.resumed;
        let replays = match link.slots[device] {
            Slot::Attaching { .. } if resumed || attached.replay => Replays::Wanted,
            Slot::Attaching { .. } => Replays::Unwanted,
            // The node was registered anew: the stream goes on under another epoch, and no result was lost.
            Slot::Attached { .. } => {
                let state = AgentState::Attached { node: link.node.clone(), epoch: attached.epoch };
                self.sessions[device].attached(attached);
                return out.push(Effect::State(device, state));
            }
            Slot::Free | Slot::Over => return,
        };
        link.slots[device] = Slot::Attached { since: at.now, replays };
        let state = AgentState::Attached { node: link.node.clone(), epoch: attached.epoch };
        self.servers.good(&link.server);
        self.sessions[device].attached(attached);
        out.push(Effect::State(device, state));
        // Where nobody passes them on, nobody waits for the results of former sessions.
        let results = match replays {
            Replays::Wanted => self.calls.replay(device, at.now),
            Replays::Unwanted => Vec::new(),
        };
        let away = self.sessions[device].lost_at.take().map(|lost| at.now.saturating_sub(lost));
        let (replayed, given_up) = (results.len(), self.calls.kept.given_up());
        out.push(Effect::Note(device, Note::Returned { away, resumed, replayed, given_up }));
        for result in results {
            out.push(Effect::Reply(id, slot_of(device), None, Box::new(result)));
        }
    }

    /// A session was refused or ended: what the code says.
    fn refused(&mut self, id: LinkId, device: usize, refusal: Refusal, at: Moment, out: &mut Vec<Effect>) {
        let used = |link: &&mut Link| link.slots[device] != Slot::Free;
        let Some(link) = self.links.get_mut(&id).filter(used) else { return };
        let lasted = link.lasted(device, at.now);
        let was_open = matches!(link.slots[device], Slot::Attached { .. } | Slot::Over);
        if matches!(link.slots[device], Slot::Attached { .. }) {
            self.sessions[device].lost_at.get_or_insert(at.now);
        }
        link.slots[device] = Slot::Free;
        let (others, server) = (link.in_use(), link.server.clone());
        self.calls.unlink(id, Some(slot_of(device)), at.now);
        if was_open {
            // Its results are kept; the slot may be used again, under tags that mean others.
            out.push(Effect::Discard(id, slot_of(device)));
        }
        if self.sessions[device].over {
            return;
        }
        if was_open && self.is_engaged_beside(id, device) {
            // The device has moved: this end is the expected one.
            if let Some(link) = self.links.get_mut(&id) {
                link.slots[device] = Slot::Over;
            }
            return;
        }
        let verdict = Verdict::from(refusal.code);
        let session = &mut self.sessions[device];
        if lasted {
            session.failures = 0;
        }
        let wait = match (verdict, refusal.retry_after) {
            (Verdict::Stop, _) => return self.stop_device(device, refusal.code, &refusal.message, out),
            (_, Some(wait)) => backoff::advised(wait, at.random),
            (Verdict::Minute, None) => backoff::minute(at.random),
            (Verdict::Retry | Verdict::Elsewhere, None) => {
                backoff::pause(session.failures, self.servers.len(), at.random)
            }
        };
        session.failures = session.failures.saturating_add(1);
        session.retry_at = at.now + wait;
        if !self.is_attached(device) {
            let state = AgentState::Refused { code: refusal.code, message: refusal.message, retry_in: wait };
            out.push(Effect::State(device, state));
        }
        // Devices that are attached here must not lose their connection for one that is not.
        let elsewhere = verdict == Verdict::Elsewhere || !refusal.try_addrs.is_empty();
        if elsewhere && !others {
            self.servers.avoid(&server);
            self.servers.prefer(&refusal.try_addrs, at.random);
            self.end(id, at.now, out);
        }
    }

    fn superseded(
        &mut self,
        id: LinkId,
        device: usize,
        superseded: &wire::Superseded,
        at: Moment,
        out: &mut Vec<Effect>,
    ) {
        let message = format!("a newer session of the device exists, epoch {}", superseded.winner_epoch);
        if !superseded.same_instance {
            let refusal =
                Refusal { code: CloseCode::Superseded, message, retry_after: None, try_addrs: Vec::new() };
            return self.refused(id, device, refusal, at, out);
        }
        // The slot delivers results until the node is content, and cannot be used again.
        let used = |link: &&mut Link| link.engages(device);
        let Some(link) = self.links.get_mut(&id).filter(used) else { return };
        link.slots[device] = Slot::Over;
        if !self.is_engaged_beside(id, device) {
            // A newer session of ours was lost before its Attached came: only a new connection has a free slot. This one
            // goes on beside it for the sake of its calls and other devices.
            self.dial_at = at.now + backoff::pause(0, self.servers.len(), at.random);
            self.leave(id, at.now, out);
            self.report_wait(&Fault::transient(message), at.now, out);
        }
    }

    /// The node ends the connection: a new one is made before it breaks, if the node leaves it time.
    fn go_away(&mut self, id: LinkId, go_away: &wire::GoAway, at: Moment, out: &mut Vec<Effect>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if matches!(link.phase, Phase::Retiring { .. } | Phase::Ending { .. }) {
            return;
        }
        let server = link.server.clone();
        // Said again, it is another time to go.
        let lasts = matches!(link.phase, Phase::Open | Phase::Leaving);
        let graceful = go_away.code() == CloseCode::GoingAway && lasts;
        let is_primary = self.primary == Some(id);
        if graceful && is_primary {
            link.phase = Phase::Leaving;
        }
        if Verdict::from(go_away.code()) == Verdict::Elsewhere {
            self.servers.avoid(&server);
        }
        self.servers.prefer(&go_away.prefer_addrs, at.random);
        let wait = go_away.reconnect_after.map(duration).filter(|wait| !wait.is_zero());
        let advice = wait.map(|wait| backoff::advised(wait, at.random));
        if graceful && is_primary {
            let own = || backoff::pause(0, self.servers.len(), at.random);
            self.dial_at = at.now + advice.unwrap_or_else(own);
            return;
        }
        let fault = Fault {
            code: go_away.code(),
            message: format!("{server} is ending the connection: {}", go_away.message),
        };
        out.push(Effect::Drop(id));
        self.lost_until(id, &fault, advice, at, out);
    }
}
