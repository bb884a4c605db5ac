//! Calls that were given to a link and have no answer yet; some of them outlive the link, and wait for their devices.

use rollcall_proto::peer::ForwardReply;
use rollcall_registry::model::ids::{DeviceKey, Epoch, Incarnation, InstanceId};
use slab::Slab;
use tokio::time::Instant;

use super::hints;
use crate::{
    core::in_flight::OnLoss,
    delivery::{Answer, ReplyTo},
    outcome::{Failure, Outcome, Reason},
    payload::Assembly,
};

/// Which device a call went to. Only that one may answer it by another way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taker {
    /// The device; without an id while the holder has not said which it picked.
    pub(crate) device: DeviceKey,
    /// Its session, and the agent process; `None` as long as the holder has not said.
    pub(crate) session: Option<(Epoch, InstanceId)>,
}

/// What a link is told of a call beside what it sends.
pub(crate) struct Sent {
    /// A number that names the call on this node together with its place in the table.
    pub(crate) draw: u64,
    /// This node's incarnation.
    pub(crate) incarnation: Incarnation,
    /// The device.
    pub(crate) taker: Taker,
    /// What becomes of the call when its way back is lost.
    pub(crate) on_loss: OnLoss,
    /// If the holder picks the device: where its word on the group's load goes.
    pub(crate) hint: Option<hints::Sent>,
}

/// A call that waits for its answer.
pub(crate) struct Pending {
    call_id: u64,
    /// Beside the transport's part of it.
    pub(crate) sent: Sent,
    /// Who waits.
    pub(crate) waiter: ReplyTo,
    /// Whether the transport has taken it: from then on only the holder can say that it was not executed.
    pub(crate) handed: bool,
    /// Set once the link broke under it: until when it waits for its device's return.
    pub(crate) orphaned_until: Option<Instant>,
    /// The session that was asked about it.
    pub(crate) asked: Epoch,
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

impl Pending {
    /// Its name on the link, and the last part of its token.
    pub(crate) fn call_id(&self) -> u64 {
        self.call_id
    }

    fn outlives_its_link(&self) -> bool {
        self.handed && self.sent.on_loss == OnLoss::Wait && self.sent.taker.session.is_some()
    }
}

/// The table of a link's calls. Ids are never used twice on a node within a thousand million calls.
#[derive(Default)]
pub(crate) struct PendingCalls {
    entries: Slab<Pending>,
}

/// Who waited, and what for.
pub(crate) type Waiting = (ReplyTo, Answer);

impl PendingCalls {
    pub(crate) fn insert(&mut self, waiter: ReplyTo, sent: Sent) -> u64 {
        let vacant = self.entries.vacant_entry();
        // 0 names no call.
        let call_id = (sent.draw >> 32).max(1) << 32 | vacant.key() as u64;
        vacant.insert(Pending {
            call_id,
            sent,
            waiter,
            handed: false,
            orphaned_until: None,
            asked: Epoch(0),
            partial: None,
        });
        call_id
    }

    pub(crate) fn get(&self, call_id: u64) -> Option<&Pending> {
        self.entries.get(index(call_id)).filter(|pending| pending.call_id == call_id)
    }

    pub(crate) fn get_mut(&mut self, call_id: u64) -> Option<&mut Pending> {
        self.entries.get_mut(index(call_id)).filter(|pending| pending.call_id == call_id)
    }

    pub(crate) fn remove(&mut self, call_id: u64) -> Option<Pending> {
        self.get_mut(call_id)?;
        self.entries.try_remove(index(call_id))
    }

    /// The link broke: what may still be answered by another way waits until then; returns who does so from now on.
    /// Every other call ends with the failure that is honest for it.
    pub(crate) fn orphan_all(&mut self, until: Instant, ended: &mut Vec<Waiting>) -> Vec<(DeviceKey, u64)> {
        let mut orphans = Vec::new();
        let mut lost = Vec::new();
        for (_, pending) in &mut self.entries {
            pending.partial = None;
            if !pending.outlives_its_link() {
                lost.push(pending.call_id);
            } else if pending.orphaned_until.is_none() {
                pending.orphaned_until = Some(until);
                orphans.push((pending.sent.taker.device.clone(), pending.call_id));
            }
        }
        ended.extend(lost.into_iter().filter_map(|call_id| self.remove(call_id)).map(broken));
        orphans
    }

    /// The link is gone for good: every call ends.
    pub(crate) fn break_all(&mut self) -> Vec<Waiting> {
        self.entries.drain().map(broken).collect()
    }
}

fn broken(pending: Pending) -> Waiting {
    let outcome = if pending.handed { Outcome::Unknown } else { Outcome::NotExecuted };
    let failure = Failure::new(Reason::HolderUnreachable, outcome, "the link to the device's node broke");
    (pending.waiter, Err(failure))
}

fn index(call_id: u64) -> usize {
    (call_id & u64::from(u32::MAX)) as usize
}

/// Answers to be handed out once a lock is released.
#[derive(Default)]
pub(crate) struct Answers(pub(crate) Vec<Waiting>);

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
