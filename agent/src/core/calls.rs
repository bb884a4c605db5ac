//! The table of calls: admits or refuses them, follows each to its end, keeps results for a reconnect.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use rollcall_proto::device::{self as wire, RefusedReason, attach_request::Frame};

use super::{
    assembly::{Assembly, Mismatch},
    effect::Effect,
    input::{CallId, LinkId, Outcome},
    kept::Kept,
};

/// Where a call came from and its answer goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Route {
    pub(crate) link: LinkId,
    pub(crate) slot: u32,
    pub(crate) tag: u64,
}

/// What a call is measured by.
#[derive(Debug)]
pub(crate) struct Admission<'a> {
    pub(crate) device: usize,
    pub(crate) profile: &'a wire::Profile,
    /// The newest epoch that the device has held.
    pub(crate) newest: u64,
    pub(crate) max_payload: u64,
    pub(crate) stopping: Option<&'static str>,
}

#[derive(Debug)]
enum Stage {
    /// Parts of the payload are missing.
    Receiving(Box<wire::Call>, Assembly),
    Running,
    /// The handler was told to stop.
    Stopping,
    /// The result waits in the outbox.
    Replying(Box<wire::Result>),
}

#[derive(Debug)]
struct Entry {
    device: usize,
    /// None once the connection is gone.
    route: Option<Route>,
    token: Bytes,
    epoch: u64,
    deadline: Option<Duration>,
    stage: Stage,
}

/// All calls of all devices that have not ended.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    table: HashMap<CallId, Entry>,
    tags: HashMap<Route, CallId>,
    busy: HashMap<usize, u32>,
    pub(crate) kept: Kept,
    last: u64,
}

impl Calls {
    /// How many calls have not ended.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether a connection still owes answers.
    pub(crate) fn owed_on(&self, link: LinkId) -> bool {
        self.table.values().any(|entry| entry.route.is_some_and(|route| route.link == link))
    }

    /// A call came.
    pub(crate) fn call(
        &mut self,
        route: Route,
        call: wire::Call,
        by: &Admission<'_>,
        now: Duration,
        out: &mut Vec<Effect>,
    ) {
        if self.tags.contains_key(&route) {
            return;
        }
        if let Err((reason, message)) = self.admit(&call, by) {
            return out.push(refused(route, reason, message));
        }
        let deadline = call.remaining.map(|remaining| now + duration(remaining));
        self.last += 1;
        let id = CallId(self.last);
        let call = Box::new(call);
        let entry = |stage, call: &wire::Call| Entry {
            device: by.device,
            route: Some(route),
            token: call.token.clone(),
            epoch: call.epoch,
            deadline,
            stage,
        };
        let entry = if call.payload_bytes > call.payload.len() as u64 {
            let assembly = Assembly::new(&call.payload, call.payload_bytes);
            entry(Stage::Receiving(call.clone(), assembly), &call)
        } else {
            let entry = entry(Stage::Running, &call);
            out.push(Effect::Start(id, by.device, call, deadline));
            entry
        };
        self.table.insert(id, entry);
        self.tags.insert(route, id);
        *self.busy.entry(by.device).or_default() += 1;
    }

    fn admit(&self, call: &wire::Call, by: &Admission<'_>) -> Result<(), (RefusedReason, String)> {
        let busy = self.busy.get(&by.device).copied().unwrap_or(0);
        let refuse = |reason, message: String| Err((reason, message));
        if let Some(why) = by.stopping {
            return refuse(RefusedReason::Stopping, why.to_owned());
        }
        if call.epoch < by.newest {
            let message = format!("epoch {} is older than {}, the newest held", call.epoch, by.newest);
            return refuse(RefusedReason::StaleEpoch, message);
        }
        if !by.profile.actions.contains(&call.action) {
            return refuse(RefusedReason::ActionUnknown, format!("no action {:?} here", call.action));
        }
        if call.remaining.is_some_and(|remaining| duration(remaining).is_zero()) {
            return refuse(RefusedReason::Expired, "the caller's time had run out".into());
        }
        let bytes = call.payload_bytes.max(call.payload.len() as u64);
        if bytes > by.max_payload {
            return refuse(RefusedReason::TooLarge, format!("{bytes} bytes; at most {}", by.max_payload));
        }
        if busy >= by.profile.capacity.max(1) {
            return refuse(RefusedReason::Busy, format!("{busy} calls run already"));
        }
        Ok(())
    }

    /// A further part of a payload came.
    pub(crate) fn chunk(
        &mut self,
        route: Route,
        chunk: &wire::Chunk,
        now: Duration,
        out: &mut Vec<Effect>,
    ) -> Result<(), Mismatch> {
        // Parts of a call that was refused or cancelled were on their way already.
        let Some(&id) = self.tags.get(&route) else { return Ok(()) };
        let Some(entry) = self.table.get_mut(&id) else { return Ok(()) };
        let Stage::Receiving(call, assembly) = &mut entry.stage else { return Err(Mismatch) };
        let Some(payload) = assembly.add(&chunk.data, chunk.last)? else { return Ok(()) };
        if entry.deadline.is_some_and(|deadline| deadline <= now) {
            self.remove(id);
            out.push(refused(route, RefusedReason::Expired, "the caller's time had run out".into()));
            return Ok(());
        }
        let mut call = std::mem::take(call);
        call.payload = payload;
        out.push(Effect::Start(id, entry.device, call, entry.deadline));
        entry.stage = Stage::Running;
        Ok(())
    }

    /// The caller does not want the answer any more.
    pub(crate) fn cancel(&mut self, route: Route, out: &mut Vec<Effect>) {
        let Some(&id) = self.tags.get(&route) else { return };
        let Some(entry) = self.table.get_mut(&id) else { return };
        match entry.stage {
            Stage::Receiving(..) => {
                self.remove(id);
                out.push(cancelled(route, Started::No));
            }
            Stage::Running => {
                entry.stage = Stage::Stopping;
                out.push(Effect::Abort(id));
            }
            // The result has won the race, or the stop is under way.
            Stage::Stopping | Stage::Replying(_) => {}
        }
    }

    /// A handler ended. `home` is where the device is attached now, if the call's own connection is gone.
    pub(crate) fn finished(
        &mut self,
        id: CallId,
        outcome: Outcome,
        max_payload: u64,
        home: impl FnOnce(usize) -> Option<(LinkId, u32)>,
        now: Duration,
        out: &mut Vec<Effect>,
    ) {
        let Some(entry) = self.table.get_mut(&id) else { return };
        let (device, route) = (entry.device, entry.route);
        let result = outcome.into_result(max_payload).map(|result| {
            let (token, epoch) = (entry.token.clone(), entry.epoch);
            Box::new(wire::Result { tag: route.map_or(0, |route| route.tag), token, epoch, ..result })
        });
        match (result, route) {
            (Some(result), Some(route)) => {
                entry.stage = Stage::Replying(result.clone());
                out.push(Effect::Reply(route.link, route.slot, Some(id), result));
            }
            (Some(result), None) => {
                self.remove(id);
                if let Some((link, slot)) = home(device) {
                    out.push(Effect::Reply(link, slot, None, result.clone()));
                    self.kept.sent(device, result, now);
                } else {
                    self.kept.unsent(device, result, now);
                }
            }
            (None, Some(route)) => {
                self.remove(id);
                out.push(cancelled(route, Started::Yes));
            }
            (None, None) => self.remove(id),
        }
    }

    /// A result was handed to the transport: its slot of capacity is free.
    pub(crate) fn written(&mut self, id: CallId, now: Duration) {
        let Some(entry) = self.table.get_mut(&id) else { return };
        if let Stage::Replying(result) = &mut entry.stage {
            let mut result = std::mem::take(result);
            result.tag = 0;
            self.kept.sent(entry.device, result, now);
            self.remove(id);
        }
    }

    /// The connection, or one slot of it, is gone: its handlers run on, and its waiting results are kept.
    pub(crate) fn unlink(&mut self, link: LinkId, slot: Option<u32>, now: Duration) {
        let gone = |route: &Route| route.link == link && slot.is_none_or(|slot| slot == route.slot);
        let ids: Vec<CallId> = self.tags.iter().filter(|(route, _)| gone(route)).map(|(_, id)| *id).collect();
        for id in ids {
            let Some(entry) = self.table.get_mut(&id) else { continue };
            match &mut entry.stage {
                Stage::Receiving(..) => self.remove(id),
                Stage::Running | Stage::Stopping => {
                    if let Some(route) = entry.route.take() {
                        self.tags.remove(&route);
                    }
                }
                Stage::Replying(result) => {
                    let mut result = std::mem::take(result);
                    result.tag = 0;
                    self.kept.unsent(entry.device, result, now);
                    self.remove(id);
                }
            }
        }
    }

    /// The tokens of a device's calls whose handlers run, or whose results are on their way on another connection.
    pub(crate) fn running(&self, device: usize) -> Vec<Bytes> {
        let mine = |entry: &&Entry| {
            entry.device == device
                && !entry.token.is_empty()
                && matches!(entry.stage, Stage::Running | Stage::Replying(_))
        };
        self.table.values().filter(mine).map(|entry| entry.token.clone()).collect()
    }

    /// Stops all handlers.
    pub(crate) fn abort_all(&mut self, out: &mut Vec<Effect>) {
        for (id, entry) in &mut self.table {
            if matches!(entry.stage, Stage::Running) {
                entry.stage = Stage::Stopping;
                out.push(Effect::Abort(*id));
            }
        }
    }

    fn remove(&mut self, id: CallId) {
        let Some(entry) = self.table.remove(&id) else { return };
        if let Some(route) = entry.route {
            self.tags.remove(&route);
        }
        if let Some(busy) = self.busy.get_mut(&entry.device) {
            *busy -= 1;
        }
    }
}

enum Started {
    No,
    Yes,
}

fn refused(route: Route, reason: RefusedReason, message: String) -> Effect {
    let frame = wire::Refused { tag: route.tag, reason: reason.into(), message };
    Effect::send(route.link, route.slot, Frame::Refused(frame))
}

fn cancelled(route: Route, started: Started) -> Effect {
    let frame = wire::Cancelled { tag: route.tag, executed: matches!(started, Started::Yes) };
    Effect::send(route.link, route.slot, Frame::Cancelled(frame))
}

/// A duration of the protocol; negative ones are none.
pub(crate) fn duration(duration: prost_types::Duration) -> Duration {
    Duration::try_from(duration).unwrap_or(Duration::ZERO)
}
