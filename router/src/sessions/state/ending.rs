//! How a conversation ends.

use std::{sync::Arc, time::Duration};

use rollcall_proto::device::{self, CloseCode, attach_response::Frame};
use tokio::time::Instant;

use super::{Phase, Slot, State, Supersession, frame};
use crate::{
    limits,
    sessions::{
        after::After,
        ending::{CallsThen, EndCause},
        host::Request,
        live::LiveDevice,
        slot::Successor,
    },
};

impl State {
    /// Tells the agent to go elsewhere, best to `prefer`; the connection goes on until the agent leaves.
    pub(crate) fn go_away(
        &mut self,
        code: CloseCode,
        reconnect_after: Duration,
        prefer_addrs: Vec<String>,
        message: String,
    ) {
        if self.is_ending() {
            return;
        }
        self.sent_away = true;
        let reconnect_after = prost_types::Duration::try_from(reconnect_after).ok();
        let go_away = device::GoAway { code: code.into(), reconnect_after, prefer_addrs, message };
        self.outbox.push_control(frame(0, Frame::GoAway(go_away)));
    }

    /// The last word of a conversation.
    fn say_over(&mut self, code: CloseCode, message: String) {
        let go_away = device::GoAway { code: code.into(), message, ..device::GoAway::default() };
        self.outbox.push_control(frame(0, Frame::GoAway(go_away)));
    }

    pub(super) fn cut_for_protocol(&mut self, now: Instant, message: &str, after: &mut After) {
        self.cut(CloseCode::ProtocolError, message.to_owned(), now, after);
    }

    /// Ends the conversation; the last words still go out. Where the code says that the agent is to come back, its
    /// sessions wait for it.
    pub(crate) fn cut(&mut self, code: CloseCode, message: String, now: Instant, after: &mut After) {
        if self.is_ending() {
            return;
        }
        tracing::debug!(code = code.as_str_name(), message, "device connection ended");
        self.phase = Phase::Ending;
        match CallsThen::from(code) {
            CallsThen::Wait => self.leave_slots(code, now, after),
            CallsThen::End => self.close_slots(EndCause::Lost, code, after),
        }
        self.outbox.clear_calls();
        self.say_over(code, message);
    }

    /// The node stops: all sessions are over, also those that wait for their devices.
    pub(crate) fn shut(&mut self, message: String, after: &mut After) {
        let code = CloseCode::GoingAway;
        self.end_all_absent(EndCause::Lost, code, after);
        if self.is_ending() {
            return;
        }
        self.phase = Phase::Ending;
        self.close_slots(EndCause::Lost, code, after);
        self.outbox.clear_calls();
        self.say_over(code, message);
    }

    /// The agent has ended the conversation of its own will: its sessions are over.
    pub(crate) fn finished(&mut self, after: &mut After) {
        self.phase = Phase::Ending;
        self.open_devices().for_each(|open| open.live.shown.leave());
        self.close_slots(EndCause::Lost, CloseCode::Unspecified, after);
        self.outbox.clear_calls();
    }

    /// The transport is gone: its sessions wait for their devices.
    pub(crate) fn lost(&mut self, now: Instant, after: &mut After) {
        self.phase = Phase::Ending;
        self.leave_slots(CloseCode::Unspecified, now, after);
        self.outbox.clear_calls();
    }

    fn close_slots(&mut self, cause: EndCause, code: CloseCode, after: &mut After) {
        let slots: Vec<u32> = self.slots.keys().copied().collect();
        slots.into_iter().for_each(|slot| self.close_slot(slot, cause, code, after));
        self.slots.clear();
    }

    /// A newer session of a device took over.
    pub(crate) fn superseded(
        &mut self,
        live: &LiveDevice,
        by: Supersession,
        now: Instant,
        after: &mut After,
    ) {
        let slot = live.slot;
        let shared = Arc::clone(&self.shared);
        let Some((outbox, open)) = self.open_slot(slot, live.epoch) else {
            return self.superseded_while_absent(live, by, after);
        };
        let notice = device::Superseded { winner_epoch: by.winner.0, same_instance: by.same_instance };
        outbox.push_control(frame(slot, Frame::Superseded(notice)));
        if by.same_instance {
            open.successor = Some(Successor { node: by.node, epoch: by.winner });
            open.retire(now + limits::RETIRE_GRACE, outbox, after);
            open.publish(&shared);
            self.free_if_retired(slot, now, after);
        } else {
            self.close_slot(slot, EndCause::Superseded, CloseCode::Superseded, after);
        }
    }

    /// Ends the session of `live`, telling the agent why. Where the agent is to come back, its calls wait for that.
    pub(crate) fn close(
        &mut self,
        live: &LiveDevice,
        code: CloseCode,
        message: String,
        now: Instant,
        after: &mut After,
    ) {
        let then = CallsThen::from(code);
        if self.open_slot(live.slot, live.epoch).is_none() {
            if then == CallsThen::End {
                self.end_absent(live.epoch, EndCause::Closed, code, after);
            }
            return;
        }
        match then {
            CallsThen::End => self.close_slot_saying(live.slot, EndCause::Closed, code, message, after),
            CallsThen::Wait => {
                self.say_closed(live.slot, code, message);
                self.leave(live.slot, code, now, after);
            }
        }
    }

    fn say_closed(&mut self, slot: u32, code: CloseCode, message: String) {
        let closed = device::Closed { code: code.into(), message, retry_after: None };
        self.outbox.push_control(frame(slot, Frame::Closed(closed)));
    }

    pub(super) fn close_slot_saying(
        &mut self,
        slot: u32,
        cause: EndCause,
        code: CloseCode,
        message: String,
        after: &mut After,
    ) {
        self.say_closed(slot, code, message);
        self.close_slot(slot, cause, code, after);
    }

    pub(super) fn close_slot(&mut self, slot: u32, cause: EndCause, code: CloseCode, after: &mut After) {
        // An opening that is given up is closed when it completes: `opened` finds no slot.
        let Some(Slot::Open(mut open)) = self.slots.remove(&slot) else { return };
        open.end(cause, &mut self.outbox, after, &mut self.incoming);
        open.publish(&self.shared);
        after.requests.push(Request::Closed { live: open.live, code });
    }
}
