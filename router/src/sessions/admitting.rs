//! Which attaches are let in now, and when the others may come.

use rollcall_proto::device::{self, CloseCode};
use rollcall_registry::Registrar;
use tokio::time::Instant;

use super::{device_sessions::DeviceSessions, opening::later, profile::AttachRequest};
use crate::limits;

impl<R: Registrar> DeviceSessions<R> {
    /// Lets an attach in, or says when to come again.
    pub(super) fn admit(&self, attach: &AttachRequest) -> Result<(), device::AttachRefused> {
        let (percent, jitter, now) = (self.shared.vitals.percent(), rand::random(), Instant::now());
        let admitted = self.admission.lock().admit(attach.work, percent, jitter, now);
        match admitted {
            Ok(()) => {
                self.shared.metrics.attaches_admitted.increment(1);
                Ok(())
            }
            Err(wait) => {
                self.shared.metrics.shed(attach.work);
                Err(later(CloseCode::Overloaded, "more devices come back than the node takes at once", wait))
            }
        }
    }

    /// How full the queue of attaches is.
    pub(crate) fn openings_percent(&self) -> u32 {
        let openings = self.openings.load(std::sync::atomic::Ordering::Relaxed);
        u32::try_from(openings * 100 / limits::OPENINGS).unwrap_or(100)
    }
}
