//! Idempotent calls that come more than once: they join the execution that runs, or get its result.

use std::time::Duration;

use bytes::Bytes;
use rollcall_proto::device::{self as wire, RefusedReason};

use super::{Calls, Route, Stage, refused};
use crate::{
    core::{
        effect::Effect,
        input::{CallId, LinkId},
        once::{Known, Name},
    },
    limits,
};

/// A call as its node knows it.
#[derive(Debug)]
pub(super) struct Asked {
    /// None once the connection is gone.
    pub(super) route: Option<Route>,
    pub(super) token: Bytes,
    pub(super) epoch: u64,
}

impl Asked {
    pub(super) fn new(route: Route, call: &wire::Call) -> Self {
        Self { route: Some(route), token: call.token.clone(), epoch: call.epoch }
    }

    /// A handler's result as the answer to this call.
    pub(super) fn answer(&self, result: wire::Result) -> Box<wire::Result> {
        let tag = self.route.map_or(0, |route| route.tag);
        Box::new(wire::Result { tag, token: self.token.clone(), epoch: self.epoch, ..result })
    }
}

impl Calls {
    /// Starts the handler of a call whose payload is whole and of which nothing is known.
    pub(super) fn start(&mut self, id: CallId, call: Box<wire::Call>, out: &mut Vec<Effect>) {
        let Some(entry) = self.table.get_mut(&id) else { return };
        entry.stage = Stage::Running;
        entry.name = name_of(entry.device, &call);
        if let Some(name) = &entry.name {
            self.once.started(name.clone(), &call, id);
        }
        out.push(Effect::Start(id, entry.device, call, entry.deadline));
    }

    /// Whether an idempotent call needs no handler of its own: the same runs or has run, or it cannot be the same.
    pub(super) fn is_answered(
        &mut self,
        name: &Name,
        route: Route,
        call: &wire::Call,
        now: Duration,
        out: &mut Vec<Effect>,
    ) -> bool {
        self.once.expire(now);
        let (reason, message) = match self.once.look(name, call) {
            Known::New => return false,
            Known::Done(result) => {
                let result = Asked::new(route, call).answer(*result);
                out.push(Effect::Reply(route.link, route.slot, None, result));
                return true;
            }
            Known::Running(id) => match self.table.get_mut(&id) {
                Some(entry) if entry.joined.len() < limits::ONCE_JOINED => {
                    entry.joined.push(Asked::new(route, call));
                    self.tags.insert(route, id);
                    return true;
                }
                Some(_) | None => (RefusedReason::Busy, "too many calls wait for the same execution"),
            },
            Known::Conflict => {
                (RefusedReason::RequestIdConflict, "the request id belongs to another action or payload")
            }
            Known::Lost => (RefusedReason::ReplyLost, "the call ran before, and its result was given up"),
        };
        out.push(refused(route, reason, message.to_owned()));
        true
    }

    /// Sends a result that occupies no place, or keeps it until there is a connection.
    pub(super) fn deliver(
        &mut self,
        device: usize,
        asked: &Asked,
        result: Box<wire::Result>,
        home: Option<(LinkId, u32)>,
        now: Duration,
        out: &mut Vec<Effect>,
    ) {
        match asked.route.map(|route| (route.link, route.slot)).or(home) {
            Some((link, slot)) => {
                out.push(Effect::Reply(link, slot, None, result.clone()));
                self.kept.sent(device, untagged(result), now + self.awaited_for);
            }
            None => self.kept.unsent(device, result, now),
        }
    }

    /// The execution is being stopped: the same call again is a new one.
    pub(super) fn forget(&mut self, id: CallId, now: Duration) {
        if let Some(name) = self.table.get_mut(&id).and_then(|entry| entry.name.take()) {
            self.once.ended(&name, None, now);
        }
    }
}

/// The name under which a call runs once at a time, if it is idempotent.
pub(super) fn name_of(device: usize, call: &wire::Call) -> Option<Name> {
    (call.idempotent && !call.request_id.is_empty()).then(|| (device, call.request_id.clone()))
}

/// A result for another connection than that of its call.
pub(super) fn untagged(mut result: Box<wire::Result>) -> Box<wire::Result> {
    result.tag = 0;
    result
}
