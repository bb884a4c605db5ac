//! A call on its way to a device of this node, its answer, and who waits for that.

use std::{collections::HashMap, sync::Arc};

use compact_str::CompactString;
use rollcall_registry::model::ids::{DeviceKey, Epoch};
use tokio::sync::oneshot;

use crate::{
    core::{device::Spent, token::CallToken},
    outcome::Failure,
    payload::Payload,
};

/// What a device is told of a call.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Names the call in the whole cluster.
    pub(crate) token: CallToken,
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
    /// The node that the answer came through, if it is not the one that the call went to.
    pub(crate) through: Option<CompactString>,
}

/// How a delivery ends.
pub(crate) type Answer = Result<DeviceReply, Failure>;

/// Takes answers that cannot go back the way that their calls came.
pub(crate) trait LateAnswers: Send + Sync {
    /// Passes an answer on to the node where the call's caller waits; must not block.
    fn pass_on(&self, replayed: Replayed);
}

/// Takes the answers of calls that nobody waits for with a channel of their own.
pub(crate) trait AnswerSink: Send + Sync {
    /// Called once per call; must not block.
    fn answer(&self, call_id: u64, answer: Answer);
}

/// An answer to a call of a device's former session, on its way to whoever waits.
#[derive(Debug)]
pub(crate) struct Replayed {
    /// The call.
    pub(crate) token: CallToken,
    /// The device that answers.
    pub(crate) device: DeviceKey,
    /// The epoch of the session by which the call was routed.
    pub(crate) epoch: Epoch,
    /// The answer.
    pub(crate) answer: Answer,
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
