//! What a device's health asks of its session: the health call, keeping calls away, letting them back.

use std::sync::Arc;

use rollcall_proto::device::{self, RefusedReason, attach_response::Frame};
use tokio::time::Instant;

use super::{
    after::After,
    ending,
    slot::{Heard, OpenSlot, Outbox, frame},
};
use crate::{
    core::{
        health::{Order, ProbeEnd, Standing},
        in_flight::Tag,
    },
    limits,
};

/// The built-in action that runs where an agent's handlers run, beside its capacity.
pub(crate) const HEALTH_ACTION: &str = "rollcall.health";
/// The low half of a health call's tag: no table of calls is as long.
const PROBE_INDEX: u64 = u32::MAX as u64;

/// Whether a tag is that of a health call.
pub(super) fn is_probe(tag: Tag) -> bool {
    tag.0 & PROBE_INDEX == PROBE_INDEX
}

impl OpenSlot {
    /// Carries out what the device's health asks for.
    pub(super) fn obey(
        &mut self,
        order: Option<Order>,
        now: Instant,
        outbox: &mut Outbox,
        after: &mut After,
    ) {
        let Some(order) = order else { return };
        let metrics = &Arc::clone(&self.shared).metrics;
        match order {
            Order::Probe(number) => {
                metrics.health_calls.increment(1);
                outbox.push_control(frame(self.live.slot, self.health_call(number)));
            }
            Order::Eject => {
                metrics.ejected.increment(1);
                metrics.ejected_now.increment(1.0);
                tracing::info!(device = %self.live.key, "ejected: its handlers do not answer a health call");
                let mut ended = Vec::new();
                self.device.eject(&mut ended);
                self.report(ended, outbox, after, |_| ending::ejected());
            }
            Order::LetBack => {
                metrics.ejected_now.decrement(1.0);
                tracing::info!(device = %self.live.key, "let back: its handlers answer again");
                self.device.let_back(now);
            }
        }
        self.show(now);
    }

    /// Without deadline: an answer that comes late says that the handlers are alive again.
    fn health_call(&self, number: u32) -> Frame {
        let call = device::Call {
            tag: u64::from(number) << 32 | PROBE_INDEX,
            epoch: self.live.epoch.0,
            action: HEALTH_ACTION.to_owned(),
            remaining: prost_types::Duration::try_from(limits::PROBE_PATIENCE).ok(),
            ..device::Call::default()
        };
        Frame::Call(call.into())
    }

    /// A health call ended.
    pub(super) fn probed(
        &mut self,
        end: ProbeEnd,
        now: Instant,
        outbox: &mut Outbox,
        after: &mut After,
    ) -> Heard {
        let order = self.health.probed(end, now);
        self.obey(order, now, outbox, after);
        Heard::Awaited
    }

    /// What an agent's refusal of a health call says.
    pub(super) fn refused_probe(reason: RefusedReason) -> ProbeEnd {
        match reason {
            RefusedReason::ActionUnknown => ProbeEnd::Unknown,
            RefusedReason::Unspecified
            | RefusedReason::Busy
            | RefusedReason::StaleEpoch
            | RefusedReason::Stopping
            | RefusedReason::TooLarge
            | RefusedReason::Expired
            | RefusedReason::RequestIdConflict
            | RefusedReason::ReplyLost => ProbeEnd::Refused,
        }
    }

    /// A call's time ran out on the device.
    pub(super) fn timed_out(&mut self, now: Instant, outbox: &mut Outbox, after: &mut After) {
        // A device that is away has no fault of its own.
        if self.absence.is_some() {
            return;
        }
        let order = self.suspecting(|health| health.timed_out(now));
        self.obey(order, now, outbox, after);
    }

    /// The clock moved on.
    pub(super) fn watch_health(&mut self, now: Instant, outbox: &mut Outbox, after: &mut After) {
        // Nobody can be asked.
        if self.absence.is_some() {
            return;
        }
        let unreturned = self.device.unreturned();
        let order = self.suspecting(|health| health.tick(unreturned, now));
        self.obey(order, now, outbox, after);
        self.show(now);
    }

    fn suspecting(
        &mut self,
        step: impl FnOnce(&mut crate::core::health::Health) -> Option<Order>,
    ) -> Option<Order> {
        let before = self.health.standing();
        let order = step(&mut self.health);
        if before == Standing::Well && self.health.standing() == Standing::Suspect {
            self.shared.metrics.suspect.increment(1);
        }
        order
    }

    /// Shows what the device takes to those who have no lock.
    pub(super) fn show(&self, now: Instant) {
        let ejected = self.health.standing() == Standing::Ejected;
        self.live.shown.set(self.device.limit(now), self.device.percent(now), ejected);
    }

    /// The session is over, and with it what was known of its health.
    pub(super) fn forget_health(&self) {
        if self.health.standing() == Standing::Ejected {
            self.shared.metrics.ejected_now.decrement(1.0);
        }
    }
}
