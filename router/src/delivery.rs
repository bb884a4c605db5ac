//! A call on its way to a device of this node, its answer, and who waits for that.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use compact_str::CompactString;
use rollcall_registry::model::ids::Epoch;
use tokio::sync::oneshot;

use crate::{core::device::Spent, outcome::Failure, payload::Payload};

/// What a device is told of a call.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    /// Names the call in the whole cluster.
    pub(crate) token: Bytes,
    /// The caller's group.
    pub(crate) group: String,
    /// The handler to run.
    pub(crate) action: String,
    /// The caller's name for the call.
    pub(crate) request_id: String,
    /// The payload.
    pub(crate) payload: Payload,
    /// Its media type.
    pub(crate) content_type: String,
    /// From the caller.
    pub(crate) metadata: HashMap<String, String>,
    /// It may run more than once under its request id.
    pub(crate) idempotent: bool,
}

/// A device's answer.
#[derive(Debug, Clone)]
pub(crate) struct DeviceReply {
    /// As the handler returned it.
    pub(crate) payload: Payload,
    /// Its media type.
    pub(crate) content_type: String,
    /// As the handler returned it.
    pub(crate) metadata: HashMap<String, String>,
    /// The device.
    pub(crate) device_id: CompactString,
    /// The epoch of its session.
    pub(crate) epoch: Epoch,
    /// Where the time went at the holder.
    pub(crate) spent: Spent,
}

/// How a delivery ends.
pub(crate) type Answer = Result<DeviceReply, Failure>;

/// Takes the answers of calls that nobody waits for with a channel of their own.
pub(crate) trait AnswerSink: Send + Sync {
    /// Called once per call; must not block.
    fn answer(&self, call_id: u64, answer: Answer);
}

/// Who waits for an answer.
pub(crate) enum ReplyTo {
    /// A caller of this node.
    Caller(oneshot::Sender<Answer>),
    /// A call of another node, or all who wait for one execution of an idempotent call.
    Sink(Arc<dyn AnswerSink>, u64),
}

impl ReplyTo {
    /// Hands the answer over. A caller that has gone away gets none.
    pub(crate) fn send(self, answer: Answer) {
        match self {
            Self::Caller(sender) => drop(sender.send(answer)),
            Self::Sink(sink, call_id) => sink.answer(call_id, answer),
        }
    }
}
