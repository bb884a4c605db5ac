//! Calls whose link broke while their devices may have had them: they wait for the devices' return.

use std::sync::atomic::Ordering;

use hashbrown::HashMap;
use rollcall_proto::peer::{CancelForward, PickedDevice};
use rollcall_registry::model::ids::{DeviceKey, Epoch, InstanceId};
use tokio::time::Instant;

use super::{OutboundLink, wake};
use crate::{
    core::token::CallToken,
    delivery::Answer,
    links::{
        outbound_state::{Heard, State},
        pending::{Answers, PendingCalls},
    },
    outcome::{Failure, Outcome, Reason},
    sessions::ending::{EndCause, session_ended},
};

/// The calls by their devices. Those that have ended stay until the next review.
#[derive(Default)]
pub(in crate::links) struct Orphans {
    by_device: HashMap<DeviceKey, Vec<u64>>,
}

impl Orphans {
    pub(in crate::links) fn len(&self) -> usize {
        self.by_device.values().map(Vec::len).sum()
    }

    pub(in crate::links) fn add(&mut self, orphans: Vec<(DeviceKey, u64)>) {
        for (device, call_id) in orphans {
            self.by_device.entry(device).or_default().push(call_id);
        }
    }

    fn forget_ended(&mut self, pending: &PendingCalls) {
        self.by_device.retain(|_, calls| {
            calls.retain(|call_id| pending.get(*call_id).is_some());
            !calls.is_empty()
        });
    }
}

impl State {
    /// The holder says which device it picked.
    pub(in crate::links) fn picked(&mut self, call_id: u64, picked: PickedDevice) -> Heard {
        let Some(pending) = self.pending.get_mut(call_id) else { return Heard::Late };
        pending.sent.taker.device.device = picked.device_id.into();
        pending.sent.taker.session = Some((Epoch(picked.epoch), InstanceId(picked.instance)));
        Heard::Picked
    }
}

impl OutboundLink {
    /// Whether calls wait for their devices' return.
    pub(crate) fn has_orphans(&self) -> bool {
        self.orphaned.load(Ordering::Acquire) > 0
    }

    /// The devices for whose return calls wait.
    pub(crate) fn orphaned_devices(&self) -> Vec<DeviceKey> {
        self.state.lock().orphans.by_device.keys().cloned().collect()
    }

    /// The answer to a call came by another way. It is given back if this device has no call of this name here.
    pub(crate) fn answered_elsewhere(
        &self,
        token: CallToken,
        device: &DeviceKey,
        answer: Answer,
    ) -> Option<Answer> {
        let mut answers = Answers::default();
        let waker = {
            let mut state = self.state.lock();
            let named = state.pending.get(token.call).is_some_and(|pending| {
                let sent = &pending.sent;
                sent.incarnation == token.incarnation
                    && sent.taker.session.is_some()
                    && sent.taker.device == *device
            });
            let Some(pending) = named.then(|| state.remove(token.call)).flatten() else {
                return Some(answer);
            };
            if pending.handed && pending.orphaned_until.is_none() {
                state.tell_cancel(token.call, CancelForward { deadline: false, answered: true });
            }
            answers.push(pending.waiter, answer);
            state.waker.take()
        };
        wake(waker);
        answers.send();
        None
    }

    /// A device has a new session: calls that another process of it had end; about the others that session is to be
    /// asked, by the epochs that they were routed by.
    pub(crate) fn came_back(
        &self,
        device: &DeviceKey,
        epoch: Epoch,
        instance: InstanceId,
    ) -> Vec<(Epoch, Vec<CallToken>)> {
        let mut answers = Answers::default();
        let mut questions: Vec<(Epoch, Vec<CallToken>)> = Vec::new();
        {
            let mut state = self.state.lock();
            let State { orphans, pending: table, .. } = &mut *state;
            for call_id in orphans.by_device.get(device).into_iter().flatten() {
                let Some(pending) = table.get_mut(*call_id) else { continue };
                let Some((former, was)) = pending.sent.taker.session else { continue };
                if epoch <= former || pending.asked == epoch {
                    continue;
                }
                if was != instance {
                    if let Some(pending) = table.remove(*call_id) {
                        let failure = session_ended(EndCause::Superseded, Outcome::Unknown);
                        answers.push(pending.waiter, Err(failure.on_device(device.device.clone())));
                    }
                    continue;
                }
                pending.asked = epoch;
                let token = CallToken {
                    origin: self.me,
                    incarnation: pending.sent.incarnation,
                    call: pending.call_id(),
                };
                match questions.iter_mut().find(|(epoch, _)| *epoch == former) {
                    Some((_, tokens)) => tokens.push(token),
                    None => questions.push((former, vec![token])),
                }
            }
        }
        answers.send();
        questions
    }

    /// The clock moved on: calls whose devices did not come back in time end.
    pub(crate) fn end_orphans(&self, now: Instant) {
        let mut answers = Answers::default();
        {
            let mut state = self.state.lock();
            let State { orphans, pending: table, .. } = &mut *state;
            for call_id in orphans.by_device.values().flatten() {
                let late = |until: Instant| until <= now;
                if table.get(*call_id).and_then(|pending| pending.orphaned_until).is_some_and(late)
                    && let Some(pending) = table.remove(*call_id)
                {
                    let message = "the link to the device's node broke, and its device has not come back with an answer";
                    let failure = Failure::new(Reason::HolderUnreachable, Outcome::Unknown, message);
                    let device = pending.sent.taker.device.device;
                    answers.push(pending.waiter, Err(failure.on_device(device)));
                }
            }
            orphans.forget_ended(table);
            self.orphaned.store(orphans.len(), Ordering::Release);
        }
        answers.send();
    }
}
