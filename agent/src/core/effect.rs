//! What the core wants done.

use std::time::Duration;

use rollcall_proto::device::{self as wire, attach_request::Frame};

use super::input::{CallId, LinkId};
use crate::state::AgentState;

/// One thing to do.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Open a connection and send Hello.
    Dial(LinkId, String),
    /// Chunks of the connection's results have at most this many bytes.
    ChunkBytes(LinkId, usize),
    /// Results on this connection wait for credit from now on.
    WaitForCredit(LinkId),
    /// The node has room for more of the result of this tag on this slot.
    Credit(LinkId, u32, u64, u64),
    /// Nothing more is to be sent of the long results on this slot.
    Discard(LinkId, u32),
    /// Send a small frame.
    Send(LinkId, Box<wire::AttachRequest>),
    /// Send a result on a slot, in chunks if it is long. Says `Written` for the call, if there is one.
    Reply(LinkId, u32, Option<CallId>, Box<wire::Result>),
    /// Send the token that the device has now, if it has one.
    Renew(LinkId),
    /// Send what is waiting, then end the connection.
    End(LinkId),
    /// Drop the connection now.
    Drop(LinkId),
    /// Run a handler: for the device with this index, until this time.
    Start(CallId, usize, Box<wire::Call>, Option<Duration>),
    /// Stop a handler. `Finished` comes in any case.
    Abort(CallId),
    /// The device with this index is in a new state.
    State(usize, AgentState),
    /// Something about a device's connection that its owner may want to know.
    Note(usize, Note),
    /// All is over.
    Done,
}

/// What became of a device's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    /// It is lost; handlers run on.
    Lost,
    /// The device is attached.
    Returned {
        /// How long it was not; `None`: it never was before, or has moved without a gap.
        away: Option<Duration>,
        /// Whether its former session goes on.
        resumed: bool,
        /// How many results of earlier calls are sent again.
        replayed: usize,
        /// How many results were given up for room, ever.
        given_up: u64,
    },
}

impl Effect {
    /// Sends a small frame on a slot.
    pub(crate) fn send(link: LinkId, slot: u32, frame: Frame) -> Self {
        Self::Send(link, Box::new(wire::AttachRequest { slot, frame: Some(frame) }))
    }
}
