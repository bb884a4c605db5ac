//! What a device says of its calls: results, their chunks, refusals and acknowledged cancels.
//!
//! Under tag 0 it speaks of calls that came on an earlier connection: some of this session, others of former ones, whose
//! answers are passed on to wherever somebody waits.

use rollcall_proto::device;
use rollcall_registry::model::ids::Epoch;
use tokio::time::Instant;

use super::{After, OpenSlot, Outbox, Replay};
use crate::{
    core::{device::Spent, health::ProbeEnd, in_flight::Tag, token::CallToken},
    delivery::{Answer, DeviceReply, Replayed},
    limits,
    outcome::{Failure, Outcome, Reason},
    payload::{Assembled, Assembly, Payload},
    sessions::{ending, host::Request, incoming::Incoming, slot_health::is_probe},
};

/// What handling a frame of the device touches beside the slot.
pub(crate) struct Inbox<'a> {
    pub(crate) now: Instant,
    pub(crate) max_payload_bytes: u64,
    pub(crate) incoming: &'a mut Incoming,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) after: &'a mut After,
}

/// What a frame of the device was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Somebody waited for it.
    Awaited,
    /// Nobody waited any more.
    Late,
    /// It breaks the protocol.
    Nonsense(&'static str),
}

impl OpenSlot {
    /// The device answered. Returns whether somebody waited for it.
    pub(crate) fn result(&mut self, mut result: Box<device::Result>, inbox: Inbox<'_>) -> Heard {
        if result.tag == 0 {
            return self.replayed(result, inbox);
        }
        let tag = Tag(result.tag);
        if is_probe(tag) {
            let end = if result.error.is_some() { ProbeEnd::Failed } else { ProbeEnd::Alive };
            return self.probed(end, inbox.now, inbox.outbox, inbox.after);
        }
        if !self.device.expects(tag) || self.results.contains_key(&tag) {
            return Heard::Late;
        }
        self.health.answered();
        if result.payload_bytes.max(result.payload.len() as u64) > inbox.max_payload_bytes {
            let failure = Failure::new(
                Reason::PayloadTooLarge,
                Outcome::Executed,
                "the reply is larger than the limit",
            );
            return self.finish(tag, inbox, |_| Err(failure));
        }
        if result.payload_bytes <= result.payload.len() as u64 {
            return self.answer(tag, result, inbox);
        }
        if inbox.incoming.begin((self.live.slot, tag), missing(&result)).is_err() {
            let failure =
                Failure::new(Reason::Overloaded, Outcome::Executed, "too many large replies arrive at once");
            return self.finish(tag, inbox, |_| Err(failure));
        }
        let assembly = Assembly::new(std::mem::take(&mut result.payload), result.payload_bytes);
        self.results.insert(tag, (result, assembly));
        Heard::Awaited
    }

    /// A further part of a result.
    pub(crate) fn chunk(&mut self, chunk: device::Chunk, inbox: Inbox<'_>) -> Heard {
        if chunk.tag == 0 {
            return self.replayed_chunk(chunk, inbox);
        }
        let tag = Tag(chunk.tag);
        let Some((_, assembly)) = self.results.get_mut(&tag) else { return Heard::Late };
        match assembly.push(chunk.data, chunk.last) {
            Assembled::Partly => Heard::Awaited,
            Assembled::Mismatch => Heard::Nonsense("a result's chunks do not add up to its payload_bytes"),
            Assembled::Whole => {
                let Some((result, assembly)) = self.results.remove(&tag) else { return Heard::Late };
                inbox.incoming.end((self.live.slot, tag));
                self.answer_with(tag, result, assembly.into_payload(), inbox)
            }
        }
    }

    fn answer(&mut self, tag: Tag, mut result: Box<device::Result>, inbox: Inbox<'_>) -> Heard {
        let payload = std::mem::take(&mut result.payload).into();
        self.answer_with(tag, result, payload, inbox)
    }

    fn answer_with(
        &mut self,
        tag: Tag,
        result: Box<device::Result>,
        payload: Payload,
        inbox: Inbox<'_>,
    ) -> Heard {
        if let Some(error) = result.error {
            let failure = Failure::new(Reason::DeviceError, Outcome::Executed, shortened(error.message));
            return self.finish(tag, inbox, |_| Err(failure));
        }
        let (device_id, epoch) = (self.live.key.device.clone(), self.live.epoch);
        self.finish(tag, inbox, |spent| {
            Ok(DeviceReply {
                payload,
                content_type: result.content_type,
                metadata: result.metadata,
                device_id,
                epoch,
                spent,
                through: None,
            })
        })
    }

    /// The handler of a cancelled call has stopped.
    pub(crate) fn cancelled(&mut self, cancelled: device::Cancelled, inbox: Inbox<'_>) -> Heard {
        if is_probe(Tag(cancelled.tag)) {
            return self.probed(ProbeEnd::Failed, inbox.now, inbox.outbox, inbox.after);
        }
        let outcome = if cancelled.executed { Outcome::Unknown } else { Outcome::NotExecuted };
        let failure = Failure::new(Reason::Cancelled, outcome, "the agent cancelled the call");
        if cancelled.tag == 0 {
            return self.replayed_answer(&cancelled.token, Epoch(0), Err(failure), inbox);
        }
        self.finish(Tag(cancelled.tag), inbox, |_| Err(failure))
    }

    /// The agent did not start a call.
    pub(crate) fn refused(&mut self, refused: device::Refused, inbox: Inbox<'_>) -> Heard {
        if is_probe(Tag(refused.tag)) {
            let end = Self::refused_probe(refused.reason());
            return self.probed(end, inbox.now, inbox.outbox, inbox.after);
        }
        let failure = ending::refused(refused.reason(), shortened(refused.message));
        self.finish(Tag(refused.tag), inbox, |_| Err(failure))
    }

    pub(super) fn finish(
        &mut self,
        tag: Tag,
        inbox: Inbox<'_>,
        answer: impl FnOnce(crate::core::device::Spent) -> Answer,
    ) -> Heard {
        // Whatever of the call's payload is still unsent is of no use any more.
        inbox.outbox.drop_bulk((self.live.slot, tag));
        self.drop_result(tag, inbox.incoming);
        let finished = self.device.finish(tag, inbox.now);
        let heard = if finished.is_some() { Heard::Awaited } else { Heard::Late };
        if let Some((reply, spent)) = finished {
            inbox.after.answer(reply, answer(spent).map_err(|failure| self.name(failure)));
        }
        self.promote(inbox.now, inbox.outbox, inbox.after);
        heard
    }

    /// A result of a call that came on an earlier connection.
    fn replayed(&mut self, mut result: Box<device::Result>, inbox: Inbox<'_>) -> Heard {
        if self.replay.is_some() {
            return Heard::Nonsense("a result under tag 0 came before the chunks of the last one");
        }
        if result.payload_bytes.max(result.payload.len() as u64) > inbox.max_payload_bytes {
            return self.replay_lost(
                &result,
                Reason::PayloadTooLarge,
                "the reply is larger than the limit",
                inbox,
            );
        }
        if result.payload_bytes <= result.payload.len() as u64 {
            let payload = std::mem::take(&mut result.payload).into();
            return self.replayed_whole(*result, payload, inbox);
        }
        if inbox.incoming.begin((self.live.slot, Tag(0)), missing(&result)).is_err() {
            let message = "too many large replies arrive at once";
            return self.replay_lost(&result, Reason::Overloaded, message, inbox);
        }
        let assembly = Assembly::new(std::mem::take(&mut result.payload), result.payload_bytes);
        self.replay = Some(Box::new(Replay { result, assembly }));
        Heard::Awaited
    }

    fn replayed_chunk(&mut self, chunk: device::Chunk, inbox: Inbox<'_>) -> Heard {
        let Some(Replay { assembly, .. }) = self.replay.as_deref_mut() else { return Heard::Late };
        match assembly.push(chunk.data, chunk.last) {
            Assembled::Partly => Heard::Awaited,
            Assembled::Mismatch => Heard::Nonsense("a result's chunks do not add up to its payload_bytes"),
            Assembled::Whole => {
                let Some(replay) = self.replay.take() else { return Heard::Late };
                let Replay { result, assembly } = *replay;
                inbox.incoming.end((self.live.slot, Tag(0)));
                self.replayed_whole(*result, assembly.into_payload(), inbox)
            }
        }
    }

    fn replay_lost(
        &mut self,
        result: &device::Result,
        reason: Reason,
        message: &'static str,
        inbox: Inbox<'_>,
    ) -> Heard {
        let failure = Failure::new(reason, Outcome::Executed, message);
        self.replayed_answer(&result.token, Epoch(result.epoch), Err(failure), inbox)
    }

    fn replayed_whole(&mut self, result: device::Result, payload: Payload, inbox: Inbox<'_>) -> Heard {
        let epoch = Epoch(result.epoch);
        let answer = match result.error {
            Some(error) => {
                Err(Failure::new(Reason::DeviceError, Outcome::Executed, shortened(error.message)))
            }
            None => Ok(DeviceReply {
                payload,
                content_type: result.content_type,
                metadata: result.metadata,
                device_id: self.live.key.device.clone(),
                epoch,
                spent: Spent::default(),
                through: None,
            }),
        };
        self.replayed_answer(&result.token, epoch, answer, inbox)
    }

    /// The device says what became of a call, by its token.
    fn replayed_answer(&mut self, token: &[u8], epoch: Epoch, answer: Answer, inbox: Inbox<'_>) -> Heard {
        let Some(token) = CallToken::from_bytes(token) else { return Heard::Late };
        if let Some(tag) = self.device.tag_of(token) {
            return self.finish(tag, inbox, |spent| answer.map(|reply| DeviceReply { spent, ..reply }));
        }
        if self.live.returned.is_none() {
            return Heard::Late;
        }
        self.device.release();
        let answer = answer.map_err(|failure| self.name(failure));
        let replayed = Replayed { token, device: self.live.key.clone(), epoch, answer };
        inbox.after.requests.push(Request::Replay(Box::new(replayed)));
        self.promote(inbox.now, inbox.outbox, inbox.after);
        Heard::Awaited
    }

    pub(super) fn drop_replay(&mut self, incoming: &mut Incoming) {
        if self.replay.take().is_some() {
            incoming.end((self.live.slot, Tag(0)));
        }
    }
}

/// How many bytes of a result are still to come in chunks.
pub(crate) fn missing(result: &device::Result) -> u64 {
    result.payload_bytes.saturating_sub(result.payload.len() as u64)
}

fn shortened(mut message: String) -> String {
    let mut end = message.len().min(limits::ERROR_MESSAGE_BYTES);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    message
}
