//! Answers and questions that travel towards the node where a call's caller waits, beside this node's own calls.

use std::sync::Arc;

use rollcall_proto::peer::{AskCalls, CallFrame, ReplayedAnswer, call_frame, replayed_answer};
use rollcall_registry::model::ids::{DeviceKey, Epoch};

use super::{OutboundLink, wake};
use crate::{
    delivery::Replayed,
    limits,
    links::{outbound_state::Outgoing, wire},
    payload::Payload,
    sessions::replays::Question,
};

/// The lower half of every replay's number: no table of calls is that long.
const REPLAY: u64 = u32::MAX as u64;

/// Whether a number names a replay rather than a call.
pub(in crate::links) fn names_replay(number: u64) -> bool {
    number & REPLAY == REPLAY
}

/// The bytes of payload in a replay's first frame.
pub(in crate::links) fn payload_bytes(replay: &ReplayedAnswer) -> usize {
    match &replay.answer {
        Some(replayed_answer::Answer::Reply(reply)) => reply.payload.len(),
        Some(replayed_answer::Answer::Failure(_)) | None => 0,
    }
}

impl OutboundLink {
    /// Queues an answer. Never waits. It is given back if the link takes none now.
    pub(crate) fn replay(self: &Arc<Self>, replayed: Replayed) -> Option<Replayed> {
        let waker = {
            let mut state = self.state.lock();
            let bytes = replayed.answer.as_ref().map_or(0, |reply| reply.payload.len());
            if state.session == 0 || !self.is_up() || state.is_full(bytes) {
                return Some(replayed);
            }
            state.replays = state.replays.wrapping_add(1);
            let number = state.replays << 32 | REPLAY;
            state.queued_bytes += bytes;
            let (mut replay, mut rest) = wire::replay_to_proto(replayed);
            if let Some(replayed_answer::Answer::Reply(reply)) = &mut replay.answer {
                reply.payload = rest.take(limits::CHUNK_BYTES);
            } else {
                rest = Payload::default();
            }
            state.lanes.push_small(Outgoing::Replay { number, replay: Box::new(replay), rest });
            state.waker.take()
        };
        wake(waker);
        None
    }

    /// Queues a question. Lost if the link takes nothing now.
    pub(crate) fn ask(&self, question: &Question) {
        self.put(wire::question_to_proto(question));
    }

    /// Queues a doubt whether a device still answers. Lost if the link takes nothing now.
    pub(crate) fn doubt(&self, device: &DeviceKey, epoch: Epoch) {
        self.put(wire::doubt_to_proto(device, epoch));
    }

    fn put(&self, ask: AskCalls) {
        let frame = CallFrame { call_id: 0, kind: Some(call_frame::Kind::Ask(ask)) };
        let waker = {
            let mut state = self.state.lock();
            if state.session == 0 {
                return;
            }
            state.lanes.push_control(frame);
            state.waker.take()
        };
        wake(waker);
    }
}
