//! A session between two connections: what ends, what waits, and what the device's return settles.

use rollcall_proto::device::{self, attach_response::Frame};
use rollcall_registry::model::ids::{Epoch, NodeId};
use tokio::time::Instant;

use super::{OpenSlot, Outbox, frame};
use crate::{
    core::{health::Health, returned::Returned, token::CallToken},
    delivery::{Answer, DeviceReply},
    sessions::{
        after::After,
        ending::{self, EndCause},
        incoming::Incoming,
    },
};

/// A session without a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Absence {
    /// Until when its calls wait for the device's return.
    pub(crate) until: Instant,
}

/// The newer session of the same instance that took over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Successor {
    /// The node that holds it.
    pub(crate) node: NodeId,
    /// Its epoch.
    pub(crate) epoch: Epoch,
}

impl OpenSlot {
    /// The connection is lost: nothing new is taken, and what the device may have waits.
    pub(crate) fn suspend(
        &mut self,
        until: Instant,
        outbox: &mut Outbox,
        after: &mut After,
        incoming: &mut Incoming,
    ) {
        let tags: Vec<_> = self.results.keys().copied().collect();
        tags.into_iter().for_each(|tag| self.drop_result(tag, incoming));
        self.drop_replay(incoming);
        self.absence = Some(Absence { until });
        let mut ended = Vec::new();
        self.device.suspend(&mut ended);
        self.report(ended, outbox, after, |ended| ending::session_ended(EndCause::Lost, ended.outcome));
    }

    /// The device has come back to this session on another connection; its first frames are said already.
    pub(crate) fn resume(
        &mut self,
        returned: &Returned,
        now: Instant,
        outbox: &mut Outbox,
        after: &mut After,
    ) {
        self.absence = None;
        // Its health call, if there was one, went with the connection.
        self.forget_health();
        self.health = Health::new();
        self.device.let_back(now);
        self.device.resume();
        self.show(now);
        for token in self.settle(returned, after) {
            let cancel = device::Cancel { tag: 0, token: token.to_bytes() };
            outbox.push_control(frame(self.live.slot, Frame::Cancel(cancel)));
        }
        self.promote(now, outbox, after);
    }

    fn settle(&mut self, returned: &Returned, after: &mut After) -> Vec<CallToken> {
        let mut settled = Vec::new();
        let unwanted = self.device.settle(returned, &mut settled);
        for settled in settled {
            if let Some(failure) = ending::settled(settled.fate) {
                after.answer(settled.waiter, Err(self.name(failure)));
            }
        }
        unwanted
    }

    /// The calls that wait for the device's return.
    pub(crate) fn awaited(&self) -> Vec<CallToken> {
        self.device.awaited()
    }

    /// The device's answer came by another connection, perhaps of another node. It is given back if nobody waits for it here.
    pub(crate) fn answered_elsewhere(
        &mut self,
        token: CallToken,
        answer: Answer,
        now: Instant,
        after: &mut After,
    ) -> Option<Answer> {
        let Some(tag) = self.device.tag_of(token) else { return Some(answer) };
        let Some((reply, spent)) = self.device.finish(tag, now) else { return Some(answer) };
        after.answer(reply, answer.map(|device_reply| DeviceReply { spent, ..device_reply }));
        None
    }

    /// The device still runs calls of its former sessions: they take up its capacity.
    pub(crate) fn reserve(&mut self) {
        if let Some(returned) = &self.live.returned {
            self.device.reserve(u32::try_from(returned.running().count()).unwrap_or(u32::MAX));
        }
    }
}
