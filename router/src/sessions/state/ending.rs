//! How a conversation ends.

use std::time::Duration;

use rollcall_proto::device::{self, CloseCode, attach_response::Frame};

use super::{Phase, State, frame};
use crate::sessions::{after::After, ending::EndCause};

impl State {
    /// Tells the agent to go elsewhere; the connection goes on until the agent leaves.
    pub(crate) fn go_away(&mut self, code: CloseCode, reconnect_after: Duration, message: String) {
        let reconnect_after = prost_types::Duration::try_from(reconnect_after).ok();
        let go_away =
            device::GoAway { code: code.into(), reconnect_after, prefer_addrs: Vec::new(), message };
        self.outbox.push_control(frame(0, Frame::GoAway(go_away)));
    }

    pub(super) fn cut_for_protocol(&mut self, message: &str, after: &mut After) {
        self.cut(CloseCode::ProtocolError, message.to_owned(), after);
    }

    /// Ends the conversation: all sessions close; the last words still go out.
    pub(crate) fn cut(&mut self, code: CloseCode, message: String, after: &mut After) {
        if self.is_ending() {
            return;
        }
        tracing::debug!(code = code.as_str_name(), message, "device connection ended");
        self.phase = Phase::Ending;
        self.close_slots(EndCause::Lost, code, after);
        self.outbox.clear_calls();
        self.go_away(code, Duration::ZERO, message);
    }

    /// The transport is gone.
    pub(crate) fn lost(&mut self, after: &mut After) {
        self.phase = Phase::Ending;
        self.close_slots(EndCause::Lost, CloseCode::Unspecified, after);
        self.outbox.clear_calls();
    }

    fn close_slots(&mut self, cause: EndCause, code: CloseCode, after: &mut After) {
        let slots: Vec<u32> = self.slots.keys().copied().collect();
        slots.into_iter().for_each(|slot| self.close_slot(slot, cause, code, after));
        self.slots.clear();
    }
}
