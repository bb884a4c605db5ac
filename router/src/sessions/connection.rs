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
    state::{Judging, State, Supersession, Whereabouts},
    ticket::Place,
};
use crate::{
    core::{in_flight::Tag, returned::Returned, token::CallToken},
    delivery::{Answer, Delivery, ReplyTo},
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

// With the two counts of its `Arc` it fits into 512 bytes, a class of the allocator.
const _: () = assert!(size_of::<Connection>() <= 512 - 2 * size_of::<usize>());

/// A number from 0 to 1 for each id; those of ids that follow each other are spread evenly (a Weyl sequence by the golden ratio).
fn evenly(id: u64) -> f64 {
    id.wrapping_mul(0x9e37_79b9_7f4a_7c15) as f64 / u64::MAX as f64
}

impl Connection {
    pub(crate) fn new(id: u64, remote_addr: CompactString, host: Arc<dyn Host>, shared: Arc<Shared>) -> Self {
        let quiet = shared.config.heartbeat_interval.mul_f64(evenly(id));
        let state = Mutex::new(State::new(shared, Instant::now(), quiet));
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

    /// See [`State::probe`].
    pub(crate) fn probe(self: &Arc<Self>) {
        self.step(|state, now, _| state.probe(now));
    }

    /// Accepts a call or says why not. Never waits.
    pub(crate) fn deliver(
        self: &Arc<Self>,
        live: &Arc<LiveDevice>,
        delivery: impl FnOnce() -> Box<Delivery>,
        terms: Terms<'_>,
        reply: ReplyTo,
    ) -> Result<Place, (ReplyTo, Failure)> {
        let tag = self.step(|state, _, _| state.deliver(live, delivery, terms, reply))?;
        Ok(Place { live: Arc::clone(live), tag })
    }

    /// A caller gave up. Whoever waits is answered at once, and the device is told if it has the call.
    pub(crate) fn cancel(self: &Arc<Self>, live: &LiveDevice, tag: Tag, why: GiveUp) {
        let (mut connection, mut slot) = (Arc::clone(self), live.slot);
        let step = |connection: &Arc<Self>, slot| {
            connection.step(|state, now, after| state.cancel((slot, live), tag, why, now, after))
        };
        // Each leads to a newer connection.
        while let Some((next, there)) = step(&connection, slot) {
            (connection, slot) = (next, there);
        }
    }

    /// See [`State::answered_elsewhere`].
    pub(crate) fn answered_elsewhere(
        self: &Arc<Self>,
        live: &LiveDevice,
        token: CallToken,
        answer: Answer,
    ) -> Option<Answer> {
        self.step(|state, now, after| state.answered_elsewhere(live, token, answer, now, after))
    }

    /// Carries on the session of `former` as `live`, which is on this connection. `false`: it is over, or nobody waits
    /// for this attach any more.
    pub(crate) fn adopt(
        self: &Arc<Self>,
        opening: u64,
        former: &LiveDevice,
        live: &Arc<LiveDevice>,
        attached: device::Attached,
        returned: &Returned,
    ) -> bool {
        // Sessions move to newer connections only: so no two of these wait for each other.
        if former.connection.id >= self.id {
            return false;
        }
        let (now, mut after) = (Instant::now(), After::default());
        let adopted = {
            let mut theirs = former.connection.state.lock();
            let mut mine = self.state.lock();
            let open = if mine.awaits(live.slot, opening) {
                theirs.hand_on(former, (self, live.slot), now, &mut after)
            } else {
                None
            };
            let adopted = open.is_some();
            if let Some(open) = open {
                mine.adopt(open, Arc::clone(live), attached, returned, now, &mut after);
                mine.settle(now, &mut after);
            }
            adopted
        };
        for request in after.run() {
            self.host.request(self, request);
        }
        adopted
    }

    /// Where it has a session.
    pub(crate) fn whereabouts(&self, live: &LiveDevice) -> Whereabouts {
        self.state.lock().whereabouts(live)
    }

    /// See [`State::tick_absent`].
    pub(crate) fn tick_absent(self: &Arc<Self>, judging: Judging) {
        self.step(|state, now, after| state.tick_absent(judging, now, after));
    }

    /// See [`State::superseded`].
    pub(crate) fn superseded(self: &Arc<Self>, live: &LiveDevice, by: Supersession) {
        self.step(|state, now, after| state.superseded(live, by, now, after));
    }

    /// See [`State::close`].
    pub(crate) fn close(self: &Arc<Self>, live: &LiveDevice, code: CloseCode, message: &str) {
        self.step(|state, now, after| state.close(live, code, message.to_owned(), now, after));
    }

    /// See [`State::tick`].
    pub(crate) fn tick(self: &Arc<Self>, judging: Judging) {
        self.step(|state, now, after| state.tick(judging, now, after));
    }

    /// See [`State::go_away`].
    pub(crate) fn go_away(
        self: &Arc<Self>,
        code: CloseCode,
        reconnect_after: Duration,
        prefer: &[String],
        message: &str,
    ) {
        self.step(|state, _, _| state.go_away(code, reconnect_after, prefer.to_vec(), message.to_owned()));
    }

    /// Whether the agent was asked to go elsewhere.
    pub(crate) fn was_sent_away(&self) -> bool {
        self.state.lock().was_sent_away()
    }

    /// How many sessions it carries.
    pub(crate) fn devices(&self) -> usize {
        self.state.lock().open_devices().count()
    }

    /// See [`State::shut`].
    pub(crate) fn shut(self: &Arc<Self>, message: &str) {
        self.step(|state, _, after| state.shut(message.to_owned(), after));
    }

    /// See [`State::finished`].
    pub(crate) fn finished(self: &Arc<Self>) {
        self.step(|state, _, after| state.finished(after));
    }

    /// The transport is gone.
    pub(crate) fn lost(self: &Arc<Self>) {
        self.step(State::lost);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_follow_each_other_are_pinged_at_moments_of_their_own() {
        for herd in [1, 70_000] {
            let mut tenths = [0; 10];
            (herd..herd + 1_000).for_each(|id| tenths[(evenly(id) * 10.0) as usize % 10] += 1);
            assert!(tenths.iter().all(|pinged| (95..=105).contains(pinged)), "{tenths:?}");
        }
    }
}
