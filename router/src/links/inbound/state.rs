//! What an inbound link knows, behind its lock: the calls that came over it, the room for those that are still arriving,
//! and what waits for the transport.

use std::{collections::VecDeque, sync::Arc, task::Waker};

use hashbrown::HashMap;
use rollcall_proto::peer::{ForwardCall, ReplyFrame, reply_frame};
use tokio::time::Instant;

use super::{answers::frame_of, replays::Replays};
use crate::{
    core::{lanes::Lanes, room::Room, token::CallToken},
    limits,
    payload::{Assembly, Payload},
    sessions::{group_load::GroupLoad, ticket::Ticket},
};

/// A call that came over the link.
pub(super) enum Call {
    /// Its payload is still arriving.
    Assembling(Arriving),
    /// It is being given to a device.
    Starting,
    /// A device has it, or its queue; with the load of its group, if it was for any of the group.
    Running(Ticket, CallToken, Option<Arc<GroupLoad>>),
    /// No device took it, of the group with this load.
    Refused(Option<Arc<GroupLoad>>),
}

/// A call of whose payload chunks are still to come.
pub(super) struct Arriving {
    pub(super) call: Box<ForwardCall>,
    pub(super) assembly: Assembly,
    /// When the call came.
    pub(super) since: Instant,
    /// Bytes that were missing when it began.
    pub(super) missing: u64,
    /// Whether there is room for them.
    pub(super) has_room: bool,
}

/// A reply that waits for the transport.
pub(super) struct Outgoing {
    pub(super) call_id: u64,
    pub(super) kind: reply_frame::Kind,
    pub(super) rest: Payload,
    pub(super) group_calls: Option<u64>,
}

pub(super) struct State {
    pub(super) calls: HashMap<u64, Call>,
    /// Calls whose device was chosen here, and since when: the origin is told if they last.
    pub(super) chosen: VecDeque<(u64, Instant)>,
    pub(super) replays: Replays,
    pub(super) lanes: Lanes<ReplyFrame, Outgoing, u64>,
    pub(super) room: Room<u64>,
    pub(super) waker: Option<Waker>,
    pub(super) closed: bool,
}

impl State {
    /// Nothing has come.
    pub(super) fn new() -> Self {
        Self {
            calls: HashMap::new(),
            chosen: VecDeque::new(),
            replays: Replays::default(),
            lanes: Lanes::new(limits::CHUNK_BYTES),
            room: Room::new(limits::LINK_ROOM_BYTES),
            waker: None,
            closed: false,
        }
    }

    /// There is room for the rest of a call's payload.
    pub(super) fn grant(&mut self, call_id: u64, bytes: u64) {
        match self.calls.get_mut(&call_id) {
            Some(Call::Assembling(arriving)) => {
                arriving.has_room = true;
                self.lanes.push_control(frame_of(call_id, reply_frame::Kind::CreditBytes(bytes)));
            }
            _ => self.room.free(bytes),
        }
    }

    /// A call's payload has arrived, or is not wanted any more.
    pub(super) fn give_up_room(&mut self, call_id: u64, arriving: &Arriving) {
        if arriving.has_room {
            self.room.free(arriving.missing);
        } else {
            self.room.forget(call_id);
        }
        while let Some((call_id, bytes)) = self.room.next() {
            self.grant(call_id, bytes);
        }
    }

    /// The writer's, if there is something to write.
    pub(super) fn waker_if_due(&mut self) -> Option<Waker> {
        if self.lanes.is_empty() { None } else { self.waker.take() }
    }
}
