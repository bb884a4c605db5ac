//! A device connection behind its lock. The lock is held for one step of [`State`]; answers go out after it.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use compact_str::CompactString;
use parking_lot::Mutex;
use rollcall_proto::device::{self, AttachRequest, AttachResponse, CloseCode, attach_request};
use rollcall_registry::model::ids::Epoch;
use tokio::{sync::Notify, time::Instant};

use super::{
    after::After,
    ending::GiveUp,
    host::{Host, Shared},
    live::LiveDevice,
    slot::Terms,
    state::{State, Supersession},
    ticket::Place,
};
use crate::{
    core::in_flight::Tag,
    delivery::{Delivery, ReplyTo},
    outcome::Failure,
};

/// A device connection of any transport.
pub(crate) struct Connection {
    /// Names it on this node.
    pub(crate) id: u64,
    /// Where it comes from.
    pub(crate) remote_addr: CompactString,
    /// Set once the conversation is over and the transport should end.
    pub(crate) over: Notify,
    host: Arc<dyn Host>,
    state: Mutex<State>,
}

impl Connection {
    pub(crate) fn new(id: u64, remote_addr: CompactString, host: Arc<dyn Host>, shared: Arc<Shared>) -> Self {
        let state = Mutex::new(State::new(shared, Instant::now()));
        Self { id, remote_addr, over: Notify::new(), host, state }
    }

    /// One step under the lock, then what follows from it.
    fn step<T>(self: &Arc<Self>, step: impl FnOnce(&mut State, Instant, &mut After) -> T) -> T {
        let now = Instant::now();
        let mut after = After::default();
        let (value, ending) = {
            let mut state = self.state.lock();
            let value = step(&mut state, now, &mut after);
            state.settle(now, &mut after);
            (value, state.is_ending())
        };
        for request in after.run() {
            self.host.request(self, request);
        }
        if ending {
            self.over.notify_one();
        }
        value
    }

    /// Frames from the agent, in one step. Returns whether the conversation goes on.
    pub(crate) fn receive(self: &Arc<Self>, requests: &mut Vec<AttachRequest>) -> bool {
        let is_hello =
            |request: &AttachRequest| matches!(request.frame, Some(attach_request::Frame::Hello(_)));
        let mut welcome = requests.iter().any(is_hello).then(|| self.host.welcome());
        self.step(|state, now, after| {
            for request in requests.drain(..) {
                let welcome = if is_hello(&request) { welcome.take() } else { None };
                state.receive(request, welcome, now, after);
            }
            !state.is_ending()
        })
    }

    /// See [`State::opened`].
    pub(crate) fn opened(
        self: &Arc<Self>,
        opening: u64,
        live: Arc<LiveDevice>,
        attached: device::Attached,
    ) -> bool {
        self.step(|state, now, _| state.opened(opening, live, attached, now))
    }

    /// See [`State::not_opened`].
    pub(crate) fn not_opened(self: &Arc<Self>, slot: u32, opening: u64, refused: device::AttachRefused) {
        self.step(|state, _, _| state.not_opened(slot, opening, refused));
    }

    /// See [`State::updated`].
    pub(crate) fn updated(self: &Arc<Self>, live: Arc<LiveDevice>, number: u64) -> bool {
        self.step(|state, now, after| state.updated(live, number, now, after))
    }

    /// See [`State::reassigned`].
    pub(crate) fn reassigned(self: &Arc<Self>, live: Arc<LiveDevice>) -> bool {
        self.step(|state, now, after| state.reassigned(live, now, after))
    }

    /// See [`State::renewed`].
    pub(crate) fn renewed(
        self: &Arc<Self>,
        former: Epoch,
        live: Arc<LiveDevice>,
        attached: device::Attached,
    ) -> bool {
        self.step(|state, now, after| state.renewed(former, live, attached, now, after))
    }

    /// Whether the session of `live` is open here.
    pub(crate) fn has_open(&self, live: &LiveDevice) -> bool {
        self.state.lock().has_open(live)
    }

    /// See [`State::probe`].
    pub(crate) fn probe(self: &Arc<Self>) {
        self.step(|state, now, _| state.probe(now));
    }

    /// Accepts a call or says why not. Never waits.
    pub(crate) fn deliver(
        self: &Arc<Self>,
        live: &LiveDevice,
        delivery: impl FnOnce() -> Box<Delivery>,
        terms: Terms<'_>,
        reply: ReplyTo,
    ) -> Result<Place, (ReplyTo, Failure)> {
        let tag = self.step(|state, _, _| state.deliver(live, delivery, terms, reply))?;
        Ok(Place { connection: Arc::clone(self), slot: live.slot, tag })
    }

    /// A caller gave up. Whoever waits is answered at once, and the device is told if it has the call.
    pub(crate) fn cancel(self: &Arc<Self>, slot: u32, tag: Tag, why: GiveUp) {
        self.step(|state, now, after| state.cancel(slot, tag, why, now, after));
    }

    /// See [`State::superseded`].
    pub(crate) fn superseded(self: &Arc<Self>, live: &LiveDevice, by: Supersession) {
        self.step(|state, now, after| state.superseded(live, by, now, after));
    }

    /// See [`State::close`].
    pub(crate) fn close(self: &Arc<Self>, live: &LiveDevice, code: CloseCode, message: &str) {
        self.step(|state, _, after| state.close(live, code, message.to_owned(), after));
    }

    /// See [`State::tick`].
    pub(crate) fn tick(self: &Arc<Self>) {
        self.step(State::tick);
    }

    /// See [`State::go_away`].
    pub(crate) fn go_away(self: &Arc<Self>, code: CloseCode, reconnect_after: Duration, message: &str) {
        self.step(|state, _, _| state.go_away(code, reconnect_after, message.to_owned()));
    }

    /// See [`State::cut`].
    pub(crate) fn cut(self: &Arc<Self>, code: CloseCode, message: &str) {
        self.step(|state, _, after| state.cut(code, message.to_owned(), after));
    }

    /// The transport is gone.
    pub(crate) fn lost(self: &Arc<Self>) {
        self.step(|state, _, after| state.lost(after));
        self.host.forget(self);
    }

    /// How long nothing was heard.
    pub(crate) fn silence(&self) -> Duration {
        self.state.lock().silence(Instant::now())
    }

    /// The transport comes for the next frame.
    pub(crate) fn poll_frame(self: &Arc<Self>, cx: &Context<'_>) -> Poll<Option<AttachResponse>> {
        let mut after = After::default();
        let frame = self.state.lock().poll_frame(cx, Instant::now(), &mut after);
        for request in after.run() {
            self.host.request(self, request);
        }
        frame
    }
}
