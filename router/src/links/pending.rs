//! Calls that were given to a link and have no answer yet.

use rollcall_proto::peer::ForwardReply;
use slab::Slab;

use super::hints::Sent;
use crate::{
    delivery::{Answer, ReplyTo},
    outcome::{Failure, Outcome, Reason},
    payload::Assembly,
};

/// A call that waits for its answer.
pub(crate) struct Pending {
    call_id: u64,
    /// Who waits.
    pub(crate) waiter: ReplyTo,
    /// Whether the transport has taken it: from then on only the holder can say that it was not executed.
    pub(crate) handed: bool,
    /// If the holder picks the device: where its word on the group's load goes.
    pub(crate) hint: Option<Sent>,
    /// Of an answer that comes in chunks.
    pub(crate) partial: Option<Partial>,
}

/// An answer of which chunks are still to come.
pub(crate) struct Partial {
    /// All but the payload.
    pub(crate) head: Box<ForwardReply>,
    /// What has come of the payload.
    pub(crate) assembly: Assembly,
    /// Bytes that were missing when it began.
    pub(crate) missing: u64,
    /// Whether there is room for them.
    pub(crate) has_room: bool,
}

/// The table of a link's calls. Ids are never used twice within four thousand million calls.
#[derive(Default)]
pub(crate) struct PendingCalls {
    entries: Slab<Pending>,
    sequence: u32,
}

impl PendingCalls {
    pub(crate) fn insert(&mut self, waiter: ReplyTo, hint: Option<Sent>) -> u64 {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let vacant = self.entries.vacant_entry();
        let call_id = u64::from(self.sequence) << 32 | vacant.key() as u64;
        vacant.insert(Pending { call_id, waiter, handed: false, hint, partial: None });
        call_id
    }

    pub(crate) fn get_mut(&mut self, call_id: u64) -> Option<&mut Pending> {
        self.entries.get_mut(index(call_id)).filter(|pending| pending.call_id == call_id)
    }

    pub(crate) fn remove(&mut self, call_id: u64) -> Option<Pending> {
        self.get_mut(call_id)?;
        self.entries.try_remove(index(call_id))
    }

    /// The link broke: every call with the failure that is honest for it.
    pub(crate) fn break_all(&mut self) -> Vec<(ReplyTo, Answer)> {
        self.entries
            .drain()
            .map(|pending| {
                let outcome = if pending.handed { Outcome::Unknown } else { Outcome::NotExecuted };
                let failure =
                    Failure::new(Reason::HolderUnreachable, outcome, "the link to the device's node broke");
                (pending.waiter, Err(failure))
            })
            .collect()
    }
}

fn index(call_id: u64) -> usize {
    (call_id & u64::from(u32::MAX)) as usize
}

/// Answers to be handed out once a lock is released.
#[derive(Default)]
pub(crate) struct Answers(pub(crate) Vec<(ReplyTo, Answer)>);

impl Answers {
    pub(crate) fn push(&mut self, waiter: ReplyTo, answer: Answer) {
        self.0.push((waiter, answer));
    }

    /// Hands them out.
    pub(crate) fn send(self) {
        for (waiter, answer) in self.0 {
            waiter.send(answer);
        }
    }
}
