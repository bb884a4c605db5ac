//! Answers to calls of devices that came back on another connection: from wherever the device is to wherever the caller
//! waits; and what is asked about calls that no device names.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use rollcall_registry::{
    Registrar,
    model::{
        event::SessionRef,
        ids::{DeviceKey, Epoch, NodeId},
    },
};
use tokio::time::Instant;

use super::{device_sessions::DeviceSessions, ending, live::LiveDevice, slot::Successor};
use crate::{
    core::token::CallToken,
    delivery::{Answer, LateAnswers, Replayed},
    limits,
};

/// A node asks which calls of a device's former session never began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// The device.
    pub(crate) device: DeviceKey,
    /// The epoch of its present session.
    pub(crate) epoch: Epoch,
    /// The epoch of the session by which the calls were routed.
    pub(crate) former_epoch: Epoch,
    /// The calls.
    pub(crate) tokens: Vec<CallToken>,
}

/// Answers for nodes that could not be reached, oldest first.
#[derive(Default)]
pub(crate) struct HeldReplays {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    replays: VecDeque<(Instant, Replayed)>,
    bytes: u64,
}

impl HeldReplays {
    /// Holds an answer. Beyond the bounds the oldest is given up: its caller hears `UNKNOWN` when its window ends.
    fn push(&self, until: Instant, replayed: Replayed) {
        let mut held = self.held.lock();
        held.bytes += bytes(&replayed);
        held.replays.push_back((until, replayed));
        while (held.replays.len() > limits::HELD_REPLAYS || held.bytes > limits::HELD_REPLAYS_BYTES)
            && let Some((_, given_up)) = held.replays.pop_front()
        {
            held.bytes -= bytes(&given_up);
        }
    }

    fn take(&self) -> VecDeque<(Instant, Replayed)> {
        std::mem::take(&mut *self.held.lock()).replays
    }
}

fn bytes(replayed: &Replayed) -> u64 {
    replayed.answer.as_ref().map_or(0, |reply| reply.payload.len())
}

impl<R: Registrar> LateAnswers for DeviceSessions<R> {
    fn pass_on(&self, replayed: Replayed) {
        let until = Instant::now() + self.shared.config.resume_window;
        self.pass_on_until(until, replayed);
    }
}

impl<R: Registrar> DeviceSessions<R> {
    fn pass_on_until(&self, until: Instant, replayed: Replayed) {
        let origin = replayed.token.origin;
        if origin == self.registry.node() {
            return self.arrived(replayed, &self.shared.config.node_name);
        }
        // A node that is no member any more has no callers either.
        let Some(peer) = self.peers.get(origin) else { return };
        let unsent = match peer.link() {
            Some(link) => link.replay(replayed),
            None => Some(replayed),
        };
        if let Some(replayed) = unsent {
            self.held_replays.push(until, replayed);
        }
    }

    /// An answer to a call of this node came through the node `through`.
    pub(crate) fn arrived(&self, replayed: Replayed, through: &str) {
        let Replayed { token, device, epoch, mut answer } = replayed;
        if let Ok(reply) = &mut answer {
            reply.through = Some(through.into());
        }
        match self.hand_to_waiter(token, &device, epoch, answer) {
            None => self.shared.metrics.replayed.increment(1),
            Some(_nobody_waits) => self.shared.metrics.late.increment(1),
        }
    }

    /// Gives the answer back if nobody waits for it.
    fn hand_to_waiter(
        &self,
        token: CallToken,
        device: &DeviceKey,
        epoch: Epoch,
        mut answer: Answer,
    ) -> Option<Answer> {
        if token.origin != self.registry.node() {
            return Some(answer);
        }
        if let Some(live) = self.held(epoch).filter(|live| live.key == *device) {
            match live.connection.answered_elsewhere(&live, token, answer) {
                None => return None,
                Some(unclaimed) => answer = unclaimed,
            }
        }
        for peer in self.peers.all() {
            for link in &peer.links {
                match link.answered_elsewhere(token, device, answer) {
                    None => return None,
                    Some(unclaimed) => answer = unclaimed,
                }
            }
        }
        Some(answer)
    }

    /// Asks the session that took over from `live` which of these calls its device never got.
    pub(super) fn ask(&self, live: &LiveDevice, successor: Successor, tokens: Vec<CallToken>) {
        let question =
            Question { device: live.key.clone(), epoch: successor.epoch, former_epoch: live.epoch, tokens };
        self.put(successor.node, question);
    }

    /// Puts a question to a node. One that gets lost leaves the calls to their windows.
    fn put(&self, node: NodeId, question: Question) {
        if node != self.registry.node() {
            if let Some(link) = self.peers.get(node).as_ref().and_then(|peer| peer.link()) {
                link.ask(&question);
            }
            return;
        }
        if let Some(me) = self.me.upgrade() {
            self.runtime.spawn(me.answer(question));
        }
    }

    /// Answers a question, by replays, once the session that it is about is here.
    pub(crate) async fn answer(self: Arc<Self>, question: Question) {
        let until = Instant::now() + limits::QUESTION_PATIENCE;
        let mut arrivals = self.arrivals.subscribe();
        let live = loop {
            match self.held(question.epoch) {
                Some(live) => break live,
                None if !matches!(tokio::time::timeout_at(until, arrivals.changed()).await, Ok(Ok(()))) => {
                    return;
                }
                None => {}
            }
        };
        let Some(returned) = live.returned.clone().filter(|_| live.key == question.device) else { return };
        for token in question.tokens {
            let Some(failure) = ending::settled(returned.fate(token)) else { continue };
            let answer = Err(failure.on_device(live.key.device.clone()));
            let (device, epoch) = (live.key.clone(), question.former_epoch);
            self.pass_on(Replayed { token, device, epoch, answer });
        }
    }

    /// A device has a new session: calls over broken links may have gone to its former one.
    pub(super) fn came_back(&self, device: &DeviceKey, session: &SessionRef) {
        for peer in self.peers.all_with_orphans() {
            for link in &peer.links {
                for (former_epoch, tokens) in link.came_back(device, session.epoch, session.instance) {
                    let (device, epoch) = (device.clone(), session.epoch);
                    self.put(session.node, Question { device, epoch, former_epoch, tokens });
                }
            }
        }
    }

    /// The clock moved on: calls whose device did not come back end; answers that could not be passed on are tried again.
    pub(super) fn review_replays(&self) {
        let now = Instant::now();
        for (until, replayed) in self.held_replays.take() {
            if until > now {
                self.pass_on_until(until, replayed);
            }
        }
        for peer in self.peers.all_with_orphans() {
            peer.links.iter().for_each(|link| link.end_orphans(now));
            let devices: Vec<DeviceKey> =
                peer.links.iter().flat_map(|link| link.orphaned_devices()).collect();
            for device in devices {
                // It may have come back before the link's loss was noticed.
                let session = self.registry.routes().device(&device).and_then(|device| device.session);
                if let Some(session) = session {
                    self.came_back(&device, &session.reference());
                }
            }
        }
    }
}
