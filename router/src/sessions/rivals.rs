//! Agent processes that take one device from each other: who has to wait, whether the other one is still there, and who is
//! told. What is decided when, `core/rivals` knows.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use rollcall_proto::device::{self, CloseCode};
use rollcall_registry::{
    Registrar,
    model::{
        event::SessionRef,
        ids::{DeviceKey, Epoch},
    },
};
use tokio::time::{Instant, sleep};

use super::{device_sessions::DeviceSessions, opening::later, profile::AttachRequest};
use crate::{
    core::rivals::{Rivals, Tell, Verdict},
    limits,
};

/// What an agent hears, if it hears anything, whose silence has cost it the device.
const TAKEN_IN_SILENCE: &str =
    "another agent process takes the device: this one did not answer when it was asked";

/// The devices that were taken over lately, on any node.
#[derive(Debug)]
pub(crate) struct RivalWatch {
    rivals: Mutex<Rivals>,
    /// Whether any device was ever taken over: until then attaches are spared the look-up.
    any: AtomicBool,
}

impl RivalWatch {
    pub(super) fn new() -> Self {
        Self { rivals: Mutex::new(Rivals::new(Instant::now())), any: AtomicBool::new(false) }
    }

    fn with<T>(&self, step: impl FnOnce(&mut Rivals, Instant) -> T) -> T {
        let mut rivals = self.rivals.lock();
        let value = step(&mut rivals, Instant::now());
        self.any.store(rivals.any(), Ordering::Relaxed);
        value
    }
}

impl<R: Registrar> DeviceSessions<R> {
    /// A session replaced that of another agent process. Each node remembers it, and the one that has the device tells.
    pub(super) fn taken_over(&self, device: &DeviceKey, session: &SessionRef, from: &str) {
        let flap = self.rivals.with(|rivals, now| rivals.taken_over(device, from, now));
        let Some(flap) = flap.filter(|_| session.node == self.registry.node()) else { return };
        self.shared.metrics.flaps.increment(1);
        if flap.tell == Tell::Now {
            tracing::warn!(
                %device, from, former_from = %flap.former_from, takeovers = flap.takeovers,
                "a device is taken over again and again: two have one id, or one that restarts"
            );
        }
    }

    /// Holds an agent process back that would take a device over from another one once too often.
    ///
    /// # Errors
    /// When it may come again.
    pub(super) async fn hold_back(&self, attach: &AttachRequest) -> Result<(), device::AttachRefused> {
        if !self.rivals.any.load(Ordering::Relaxed) {
            return Ok(());
        }
        let Some(rival) = self.session_of(&attach.key).filter(|it| it.instance != attach.instance) else {
            return Ok(());
        };
        let wait = match self.rivals.with(|rivals, now| rivals.attach(&attach.key, now)) {
            Verdict::Admit => return Ok(()),
            Verdict::Ask(_) if !self.is_there(&attach.key, &rival).await => return Ok(()),
            Verdict::Ask(wait) | Verdict::Wait(wait) => wait,
        };
        let words = "another agent process has the device, which has changed hands too often";
        Err(later(CloseCode::Superseded, words, wait.max(limits::RETRY_AFTER_LEAST)))
    }

    fn session_of(&self, device: &DeviceKey) -> Option<SessionRef> {
        Some(self.registry.routes().device(device)?.session?.reference())
    }

    /// Whether the device of a session answers, on whichever node.
    async fn is_there(&self, device: &DeviceKey, rival: &SessionRef) -> bool {
        if rival.node == self.registry.node() {
            return self.answers(device, rival.epoch).await;
        }
        if let Some(link) = self.peers.get(rival.node).as_ref().and_then(|peer| peer.link()) {
            link.doubt(device, rival.epoch);
        }
        let asked = Instant::now();
        while asked.elapsed() < limits::DOUBT_ELSEWHERE_PATIENCE {
            sleep(limits::DOUBT_LOOK).await;
            if self.session_of(device).is_none_or(|session| session.epoch != rival.epoch) {
                return false;
            }
        }
        true
    }

    /// Whether the device of a session of this node answers a ping.
    async fn answers(&self, device: &DeviceKey, epoch: Epoch) -> bool {
        let Some(live) = self.table.get(epoch) else {
            // Committed, and not in the table yet.
            return self.awaited.lock().contains_key(device);
        };
        // What it said before does not count.
        sleep(limits::DOUBT_LOOK).await;
        let asked = Instant::now();
        live.connection.probe();
        while asked.elapsed() < limits::DOUBT_PATIENCE {
            sleep(limits::DOUBT_LOOK).await;
            match self.table.get(epoch) {
                None => return false,
                Some(live) if live.connection.silence() <= asked.elapsed() => return true,
                Some(_) => {}
            }
        }
        false
    }

    /// Another node holds an agent process back because of a session of this one: ends it if its device does not answer.
    pub(crate) async fn doubted(self: Arc<Self>, device: DeviceKey, epoch: Epoch) {
        if self.answers(&device, epoch).await {
            return;
        }
        tracing::debug!(%device, %epoch, "ends a session that another agent process waits for");
        match self.held(epoch) {
            // Should its agent wake, it is to know that the device is another one's now.
            Some(live) => live.connection.close(&live, CloseCode::Superseded, TAKEN_IN_SILENCE),
            None => self.registry.close(device, epoch),
        }
    }
}
