//! What can happen to an agent.

use rollcall_proto::device::{self as wire, CloseCode, attach_response::Frame};
use std::{collections::HashMap, time::Duration};

use bytes::Bytes;

/// Names a connection, for as long as the agent lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) u64);

/// Names a call, for as long as the agent lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CallId(pub(crate) u64);

/// One thing that happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// Time passed.
    Tick,
    /// The connection stands; Hello is on its way.
    Connected(LinkId),
    /// The connection could not be opened, or is gone.
    Lost(LinkId, Fault),
    /// A frame came: its slot, and what it says.
    Frame(LinkId, u32, Frame),
    /// A handler ended.
    Finished(CallId, Outcome),
    /// The last part of a result was handed to the transport.
    Written(CallId),
    /// The owner wants an end: running handlers may go on for so long.
    Stop(Duration),
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// As the node would have put it.
    pub(crate) code: CloseCode,
    /// For people.
    pub(crate) message: String,
}

impl Fault {
    /// A fault that another try may mend.
    pub(crate) fn transient(message: impl Into<String>) -> Self {
        Self { code: CloseCode::Unspecified, message: message.into() }
    }
}

/// How a handler ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// With a reply.
    Reply { payload: Bytes, content_type: String, metadata: HashMap<String, String> },
    /// With a message for the caller.
    Failed(String),
    /// It was stopped: by a cancel, by the deadline, by the agent's own end.
    Stopped,
}

impl Outcome {
    /// The result as the protocol carries it; `None` if there is none.
    pub(crate) fn into_result(self, max_payload: u64) -> Option<wire::Result> {
        let failed = |message: String| wire::Result {
            error: Some(wire::HandlerError { message: cut(message) }),
            ..wire::Result::default()
        };
        match self {
            Self::Stopped => None,
            Self::Failed(message) => Some(failed(message)),
            Self::Reply { payload, .. } if payload.len() as u64 > max_payload => {
                let message = format!("the reply has {} bytes; the node takes {max_payload}", payload.len());
                // The size alone tells the node that it was the size: the caller then sees PAYLOAD_TOO_LARGE.
                Some(wire::Result { payload_bytes: payload.len() as u64, ..failed(message) })
            }
            Self::Reply { payload, content_type, metadata } => Some(wire::Result {
                payload_bytes: payload.len() as u64,
                payload,
                content_type,
                metadata,
                ..wire::Result::default()
            }),
        }
    }
}

/// A message within the protocol's bound, cut between characters.
fn cut(mut message: String) -> String {
    let mut end = message.len().min(crate::limits::ERROR_MESSAGE_BYTES);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    message
}
