//! The table of calls: admits or refuses them, follows each to its end, keeps results for a reconnect.

mod absent;
mod arriving;
mod repeated;

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use hashbrown::HashMap;
use rollcall_proto::device::{self as wire, RefusedReason, attach_request::Frame};

use self::repeated::{Asked, name_of, untagged};
use super::{
    assembly::Assembly,
    effect::Effect,
    input::{CallId, LinkId, Outcome},
    kept::Kept,
    link::Flow,
    once::{Name, Once},
    past::Past,
    room::Room,
};

/// Where a call came from and its answer goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Route {
    pub(crate) link: LinkId,
    pub(crate) slot: u32,
    pub(crate) tag: u64,
}

/// The built-in action by which a node asks whether handlers are alive. It runs beside the capacity, one at a time.
pub(crate) const HEALTH_ACTION: &str = "rollcall.health";

/// What a call is measured by.
#[derive(Debug)]
pub(crate) struct Admission<'a> {
    pub(crate) device: usize,
    pub(crate) profile: &'a wire::Profile,
    /// The newest epoch that the device has held.
    pub(crate) newest: u64,
    pub(crate) max_payload: u64,
    pub(crate) flow: Flow,
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

/// What a call takes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// One of the device's capacity.
    Ordinary,
    /// The one that is kept free for a health call.
    Reserved,
}

#[derive(Debug)]
struct Entry {
    device: usize,
    place: Place,
    asked: Asked,
    /// The same idempotent call by other ways.
    joined: Vec<Asked>,
    /// Of an idempotent call that runs.
    name: Option<Name>,
    deadline: Option<Duration>,
    stage: Stage,
}

/// All calls of all devices that have not ended.
#[derive(Debug)]
pub(crate) struct Calls {
    table: HashMap<CallId, Entry>,
    tags: HashMap<Route, CallId>,
    busy: HashMap<usize, u32>,
    /// Devices with a health call.
    checked: HashSet<usize>,
    pub(crate) kept: Kept,
    past: Past,
    /// How long a call may be waited for after its result was sent into a dead connection.
    awaited_for: Duration,
    once: Once,
    /// For payloads of which parts are missing.
    room: Room,
    last: u64,
}

impl Calls {
    /// How many calls have not ended.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether a connection still owes answers.
    pub(crate) fn owed_on(&self, link: LinkId) -> bool {
        let on_it = |asked: &Asked| asked.route.is_some_and(|route| route.link == link);
        self.table.values().any(|entry| on_it(&entry.asked) || entry.joined.iter().any(on_it))
    }

    /// A call came.
    pub(crate) fn call(
        &mut self,
        route: Route,
        call: Box<wire::Call>,
        by: &Admission<'_>,
        now: Duration,
        out: &mut Vec<Effect>,
    ) {
        if self.tags.contains_key(&route) {
            return;
        }
        let whole = call.payload_bytes <= call.payload.len() as u64;
        let name = name_of(by.device, &call);
        if let Err((reason, message)) = Self::admit(&call, by) {
            return out.push(refused(route, reason, message));
        }
        // The same again takes no place: it must not wait for one that it holds itself.
        if whole && name.as_ref().is_some_and(|name| self.is_answered(name, route, &call, now, out)) {
            return;
        }
        let place = match self.take_place(&call, by) {
            Ok(place) => place,
            Err(message) => return out.push(refused(route, RefusedReason::Busy, message)),
        };
        let deadline = call.remaining.map(|remaining| now + duration(remaining));
        self.last += 1;
        let id = CallId(self.last);
        let asked = Asked::new(route, &call);
        let stage = if whole {
            Stage::Running
        } else {
            let assembly = Assembly::new(&call.payload, call.payload_bytes);
            if by.flow == Flow::OnCredit {
                self.room.ask(id, call.payload_bytes - call.payload.len() as u64);
            }
            Stage::Receiving(call.clone(), assembly)
        };
        let entry =
            Entry { device: by.device, place, asked, joined: Vec::new(), name: None, deadline, stage };
        self.table.insert(id, entry);
        self.tags.insert(route, id);
        if whole {
            self.start(id, call, out);
        }
    }

    fn take_place(&mut self, call: &wire::Call, by: &Admission<'_>) -> Result<Place, String> {
        if call.action == HEALTH_ACTION {
            let free = self.checked.insert(by.device);
            return if free { Ok(Place::Reserved) } else { Err("a health call runs already".into()) };
        }
        let busy = self.busy.entry(by.device).or_default();
        if *busy >= by.profile.capacity.max(1) {
            return Err(format!("{busy} calls run already"));
        }
        *busy += 1;
        Ok(Place::Ordinary)
    }

    fn admit(call: &wire::Call, by: &Admission<'_>) -> Result<(), (RefusedReason, String)> {
        let refuse = |reason, message: String| Err((reason, message));
        if let Some(why) = by.stopping {
            return refuse(RefusedReason::Stopping, why.to_owned());
        }
        if call.epoch < by.newest {
            let message = format!("epoch {} is older than {}, the newest held", call.epoch, by.newest);
            return refuse(RefusedReason::StaleEpoch, message);
        }
        if call.action != HEALTH_ACTION && !by.profile.actions.contains(&call.action) {
            return refuse(RefusedReason::ActionUnknown, format!("no action {:?} here", call.action));
        }
        if call.remaining.is_some_and(|remaining| duration(remaining).is_zero()) {
            return refuse(RefusedReason::Expired, "the caller's time had run out".into());
        }
        let bytes = call.payload_bytes.max(call.payload.len() as u64);
        if bytes > by.max_payload {
            return refuse(RefusedReason::TooLarge, format!("{bytes} bytes; at most {}", by.max_payload));
        }
        Ok(())
    }

    /// The caller does not want the answer any more.
    pub(crate) fn cancel(&mut self, route: Route, now: Duration, out: &mut Vec<Effect>) {
        let Some(&id) = self.tags.get(&route) else { return };
        let Some(entry) = self.table.get_mut(&id) else { return };
        match entry.stage {
            Stage::Receiving(..) => {
                self.remove(id);
                out.push(cancelled(route, Started::No));
            }
            // Others still want the answer.
            Stage::Running if !entry.joined.is_empty() => {
                self.tags.remove(&route);
                if let Some(at) = entry.joined.iter().position(|asked| asked.route == Some(route)) {
                    entry.joined.swap_remove(at);
                } else if let Some(other) = entry.joined.pop() {
                    entry.asked = other;
                }
                out.push(cancelled(route, Started::Yes));
            }
            Stage::Running => {
                entry.stage = Stage::Stopping;
                self.forget(id, now);
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
        let (device, joined) = (entry.device, std::mem::take(&mut entry.joined));
        let result = outcome.into_result(max_payload);
        if let Some(name) = entry.name.take() {
            self.once.ended(&name, result.as_ref(), now);
        }
        for asked in joined.iter().chain(self.table.get(&id).map(|entry| &entry.asked)) {
            self.past.add(device, asked.token.clone(), now + self.awaited_for);
        }
        for route in joined.iter().filter_map(|asked| asked.route) {
            self.tags.remove(&route);
        }
        let home = home(device);
        for asked in &joined {
            match &result {
                Some(result) => self.deliver(device, asked, asked.answer(result.clone()), home, now, out),
                None => out.extend(stopped(asked, home)),
            }
        }
        let Some(entry) = self.table.get_mut(&id) else { return };
        match (result, entry.asked.route) {
            (Some(result), Some(route)) => {
                let result = entry.asked.answer(result);
                entry.stage = Stage::Replying(result.clone());
                out.push(Effect::Reply(route.link, route.slot, Some(id), result));
            }
            (Some(result), None) => {
                let result = entry.asked.answer(result);
                let gone = Asked { route: None, token: Bytes::new(), epoch: 0 };
                self.remove(id);
                self.deliver(device, &gone, result, home, now, out);
            }
            (None, _) => {
                out.extend(stopped(&entry.asked, home));
                self.remove(id);
            }
        }
    }

    /// A result was handed to the transport: its slot of capacity is free.
    pub(crate) fn written(&mut self, id: CallId, now: Duration) {
        let Some(entry) = self.table.get_mut(&id) else { return };
        if let Stage::Replying(result) = &mut entry.stage {
            let result = untagged(std::mem::take(result));
            self.kept.sent(entry.device, result, now + self.awaited_for);
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
                    for asked in std::iter::once(&mut entry.asked).chain(&mut entry.joined) {
                        if let Some(route) = asked.route.take_if(|route| gone(route)) {
                            self.tags.remove(&route);
                        }
                    }
                }
                Stage::Replying(result) => {
                    let result = untagged(std::mem::take(result));
                    self.kept.unsent(entry.device, result, now);
                    self.remove(id);
                }
            }
        }
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

    /// Forgets what is too old.
    pub(crate) fn expire(&mut self, now: Duration) {
        self.kept.expire(now);
        self.past.expire(now);
        self.once.expire(now);
    }

    fn remove(&mut self, id: CallId) {
        let Some(entry) = self.table.remove(&id) else { return };
        if matches!(entry.stage, Stage::Receiving(..)) {
            self.room.end(id);
        }
        if let Some(route) = entry.asked.route {
            self.tags.remove(&route);
        }
        match entry.place {
            Place::Reserved => drop(self.checked.remove(&entry.device)),
            Place::Ordinary => {
                if let Some(busy) = self.busy.get_mut(&entry.device) {
                    *busy -= 1;
                }
            }
        }
    }
}

/// The handler of a call was stopped. One that came on an earlier connection is named by its token.
fn stopped(asked: &Asked, home: Option<(LinkId, u32)>) -> Option<Effect> {
    match (asked.route, home) {
        (Some(route), _) => Some(cancelled(route, Started::Yes)),
        (None, Some((link, slot))) if !asked.token.is_empty() => {
            let frame = wire::Cancelled { tag: 0, executed: true, token: asked.token.clone() };
            Some(Effect::send(link, slot, Frame::Cancelled(frame)))
        }
        (None, _) => None,
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
    let frame =
        wire::Cancelled { tag: route.tag, executed: matches!(started, Started::Yes), ..Default::default() };
    Effect::send(route.link, route.slot, Frame::Cancelled(frame))
}

/// A duration of the protocol; negative ones are none.
pub(crate) fn duration(duration: prost_types::Duration) -> Duration {
    Duration::try_from(duration).unwrap_or(Duration::ZERO)
}
