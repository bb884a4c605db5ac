//! Sessions whose connection is lost: they stay with it until their devices come back, or until their time is over.

use std::sync::Arc;

use rollcall_proto::device::{self, CloseCode, attach_response::Frame};
use rollcall_registry::model::ids::Epoch;
use tokio::time::Instant;

use super::{Judging, Slot, State, Supersession, frame};
use crate::{
    core::{in_flight::Tag, returned::Returned, token::CallToken},
    delivery::Answer,
    sessions::{
        after::After,
        connection::Connection,
        ending::{EndCause, GiveUp},
        host::Request,
        live::LiveDevice,
        slot::{OpenSlot, Successor},
    },
};

/// Where a connection has a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// On a slot.
    Slot,
    /// Among those that wait for their devices.
    Absent,
    /// Nowhere.
    Gone,
}

/// A session that goes on elsewhere.
pub(super) struct Moved {
    live: Arc<LiveDevice>,
    to: Arc<Connection>,
    slot: u32,
}

impl State {
    /// A slot's session is without a connection from now on; its agent may come back to it.
    pub(super) fn leave(&mut self, slot: u32, code: CloseCode, now: Instant, after: &mut After) {
        let Some(Slot::Open(mut open)) = self.slots.remove(&slot) else { return };
        let until = now + self.shared.config.resume_window;
        open.suspend(until, &mut self.outbox, after, &mut self.incoming);
        open.publish(&self.shared);
        let live = Arc::clone(&open.live);
        if open.successor.is_some() && open.is_idle() {
            return after.requests.push(Request::Closed { live, code });
        }
        after.requests.push(Request::Suspended { live, code });
        if let Some(successor) = open.successor {
            Self::ask(&open, successor, after);
        }
        self.absent.insert(open.live.epoch, open);
    }

    pub(super) fn leave_slots(&mut self, code: CloseCode, now: Instant, after: &mut After) {
        let slots: Vec<u32> = self.slots.keys().copied().collect();
        slots.into_iter().for_each(|slot| self.leave(slot, code, now, after));
        self.slots.clear();
    }

    /// Asks the newer session which calls its device never got.
    fn ask(open: &OpenSlot, successor: Successor, after: &mut After) {
        let tokens = open.awaited();
        if !tokens.is_empty() {
            after.requests.push(Request::Ask { live: Arc::clone(&open.live), successor, tokens });
        }
    }

    pub(super) fn superseded_while_absent(&mut self, live: &LiveDevice, by: Supersession, after: &mut After) {
        if !by.same_instance {
            // Another process knows nothing of what this one did.
            return self.end_absent(live.epoch, EndCause::Superseded, CloseCode::Superseded, after);
        }
        let Some(open) = self.absent.get_mut(&live.epoch) else { return };
        let successor = Successor { node: by.node, epoch: by.winner };
        open.successor = Some(successor);
        Self::ask(open, successor, after);
        self.end_absent_if_idle(live.epoch, after);
    }

    /// Where a session is.
    pub(crate) fn whereabouts(&self, live: &LiveDevice) -> Whereabouts {
        match self.slots.get(&live.slot) {
            Some(Slot::Open(open)) if open.live.epoch == live.epoch => Whereabouts::Slot,
            _ if self.absent.contains_key(&live.epoch) => Whereabouts::Absent,
            Some(_) | None => Whereabouts::Gone,
        }
    }

    /// The node's clock moved on: deadlines, and devices that did not come back.
    pub(crate) fn tick_absent(&mut self, judging: Judging, now: Instant, after: &mut After) {
        let epochs: Vec<Epoch> = self.absent.keys().copied().collect();
        for epoch in epochs {
            let Some(open) = self.absent.get_mut(&epoch) else { continue };
            open.tick(now, &mut self.outbox, after);
            open.publish(&self.shared);
            let due = open.absence.is_none_or(|absence| absence.until <= now);
            if due && judging == Judging::Now {
                self.end_absent(epoch, EndCause::Lost, CloseCode::Unspecified, after);
            } else {
                self.end_absent_if_idle(epoch, after);
            }
        }
    }

    /// One that nobody can come back to is over once its last call has ended.
    fn end_absent_if_idle(&mut self, epoch: Epoch, after: &mut After) {
        if self.absent.get(&epoch).is_some_and(|open| open.successor.is_some() && open.is_idle()) {
            self.end_absent(epoch, EndCause::Superseded, CloseCode::Superseded, after);
        }
    }

    pub(super) fn end_absent(&mut self, epoch: Epoch, cause: EndCause, code: CloseCode, after: &mut After) {
        let Some(mut open) = self.absent.remove(&epoch) else { return };
        open.end(cause, &mut self.outbox, after, &mut self.incoming);
        open.publish(&self.shared);
        after.requests.push(Request::Closed { live: open.live, code });
    }

    pub(super) fn end_all_absent(&mut self, cause: EndCause, code: CloseCode, after: &mut After) {
        let epochs: Vec<Epoch> = self.absent.keys().copied().collect();
        epochs.into_iter().for_each(|epoch| self.end_absent(epoch, cause, code, after));
    }

    /// The device's answer to a call of the session of `live` came by another connection, perhaps of another node. It is
    /// given back if nobody waits for it here.
    pub(crate) fn answered_elsewhere(
        &mut self,
        live: &LiveDevice,
        token: CallToken,
        answer: Answer,
        now: Instant,
        after: &mut After,
    ) -> Option<Answer> {
        let open = match self.slots.get_mut(&live.slot) {
            Some(Slot::Open(open)) if open.live.is_version_of(live) => Some(open),
            Some(_) | None => self.absent.get_mut(&live.epoch),
        };
        let Some(open) = open else { return Some(answer) };
        let unclaimed = open.answered_elsewhere(token, answer, now, after);
        open.publish(&self.shared);
        self.end_absent_if_idle(live.epoch, after);
        self.free_if_retired(live.slot, now, after);
        unclaimed
    }

    /// A caller gave up. Returns the connection that its call is on by now, if that is another one, and the slot.
    pub(crate) fn cancel(
        &mut self,
        at: (u32, &LiveDevice),
        tag: Tag,
        why: GiveUp,
        now: Instant,
        after: &mut After,
    ) -> Option<(Arc<Connection>, u32)> {
        let (slot, live) = at;
        let open = match self.slots.get_mut(&slot) {
            Some(Slot::Open(open)) if open.live.is_version_of(live) => open,
            // Its epoch may have changed since the call was taken.
            Some(_) | None => match self.absent.values_mut().find(|open| open.live.is_version_of(live)) {
                Some(open) => open,
                None => {
                    let moved = self.moved.iter().find(|moved| moved.live.is_version_of(live));
                    return moved.map(|moved| (Arc::clone(&moved.to), moved.slot));
                }
            },
        };
        open.cancel(tag, why, now, &mut self.outbox, after);
        open.publish(&self.shared);
        None
    }

    /// Gives a session to the connection on which its device has come back. `None`: it is not here, or is over.
    pub(crate) fn hand_on(
        &mut self,
        live: &LiveDevice,
        to: (&Arc<Connection>, u32),
        now: Instant,
        after: &mut After,
    ) -> Option<Box<OpenSlot>> {
        let (slot, epoch) = (live.slot, live.epoch);
        let mut open = match self.absent.remove(&epoch) {
            Some(open) => open,
            None => match self.slots.remove(&slot) {
                Some(Slot::Open(open)) if open.live.epoch == epoch => open,
                Some(other) => {
                    self.slots.insert(slot, other);
                    return None;
                }
                None => return None,
            },
        };
        if open.successor.is_some() {
            // A newer session took over meanwhile.
            match open.absence {
                Some(_) => drop(self.absent.insert(epoch, open)),
                None => drop(self.slots.insert(slot, Slot::Open(open))),
            }
            return None;
        }
        if open.absence.is_none() {
            // The older stream is discarded before anybody has noticed its loss.
            open.suspend(now, &mut self.outbox, after, &mut self.incoming);
        }
        self.moved.push(Moved { live: Arc::clone(&open.live), to: Arc::clone(to.0), slot: to.1 });
        Some(open)
    }

    /// Whether this attach is still waited for.
    pub(crate) fn awaits(&self, slot: u32, opening: u64) -> bool {
        matches!(self.slots.get(&slot), Some(Slot::Opening(number)) if *number == opening)
    }

    /// Carries on a session of another connection.
    pub(crate) fn adopt(
        &mut self,
        mut open: Box<OpenSlot>,
        live: Arc<LiveDevice>,
        attached: device::Attached,
        returned: &Returned,
        now: Instant,
        after: &mut After,
    ) {
        let slot = live.slot;
        open.live.count(0);
        open.live = live;
        self.outbox.push_control(frame(slot, Frame::Attached(attached)));
        open.resume(returned, now, &mut self.outbox, after);
        open.publish(&self.shared);
        self.slots.insert(slot, Slot::Open(open));
    }
}
