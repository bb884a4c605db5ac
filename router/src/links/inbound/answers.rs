//! Answers on their way back over the link, or after it.

use rollcall_proto::peer::{LinkChunk, ReplyFrame, reply_frame};

use super::{
    Inbound,
    state::{Call, Outgoing},
};
use crate::{
    core::lanes::{Lanes, Next},
    delivery::{Answer, AnswerSink, Replayed},
    limits,
    links::{outbound::wake, wire},
    payload::Payload,
    sessions::ticket::Ticket,
};

impl AnswerSink for Inbound {
    fn answer(&self, call_id: u64, answer: Answer) {
        let waker = {
            let mut state = self.state.lock();
            let Some(call) = state.calls.remove(&call_id) else { return };
            if state.closed {
                drop(state);
                return self.answer_late(call, answer);
            }
            let (kind, rest) = self.frame(answer);
            let group_calls = match call {
                Call::Running(_, _, load) | Call::Refused(load) => load.map(|load| load.calls()),
                Call::Assembling(arriving) => {
                    state.give_up_room(call_id, &arriving);
                    None
                }
                Call::Starting => None,
            };
            state.lanes.push_small(Outgoing { call_id, kind, rest, group_calls });
            state.waker.take()
        };
        wake(waker);
    }
}

impl Inbound {
    fn frame(&self, answer: Answer) -> (reply_frame::Kind, Payload) {
        match answer {
            Ok(mut reply) => {
                let mut head = wire::reply_head(&mut reply);
                head.payload = reply.payload.take(limits::CHUNK_BYTES);
                (reply_frame::Kind::Reply(Box::new(head)), reply.payload)
            }
            Err(failure) => {
                let failure = failure.on_node(self.node_name.as_str());
                (reply_frame::Kind::Failure(Box::new(wire::failure_to_proto(failure))), Payload::default())
            }
        }
    }

    fn answer_late(&self, call: Call, answer: Answer) {
        if let Call::Running(Ticket::Own(place), token, _) = call {
            let (device, epoch) = (place.live.key.clone(), place.live.epoch);
            let answer = answer.map_err(|failure| failure.on_node(self.node_name.as_str()));
            self.late.pass_on(Replayed { token, device, epoch, answer });
        }
    }
}

pub(super) fn frame_of(call_id: u64, kind: reply_frame::Kind) -> ReplyFrame {
    ReplyFrame { call_id, kind: Some(kind), group_calls: None }
}

pub(super) fn reply_frame_of(
    lanes: &mut Lanes<ReplyFrame, Outgoing, u64>,
    next: Next<ReplyFrame, Outgoing, u64>,
    bytes: &mut usize,
) -> ReplyFrame {
    match next {
        Next::Control(frame) => frame,
        Next::Chunk { key, data, last } => {
            *bytes += data.len();
            frame_of(key, reply_frame::Kind::Chunk(LinkChunk { data, last }))
        }
        Next::Small(Outgoing { call_id, kind, rest, group_calls }) => {
            if let reply_frame::Kind::Reply(reply) = &kind {
                *bytes += reply.payload.len();
            }
            if !rest.is_empty() {
                lanes.push_bulk_on_credit(call_id, rest);
            }
            ReplyFrame { call_id, kind: Some(kind), group_calls }
        }
    }
}
