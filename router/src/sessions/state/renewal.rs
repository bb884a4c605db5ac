//! A connection that outlives its node's place in the cluster: is somebody there, and under which epoch does it go on.

use std::sync::Arc;

use rollcall_proto::device::{self, attach_response::Frame};
use rollcall_registry::model::ids::Epoch;
use tokio::time::Instant;

use super::{Phase, State, frame};
use crate::sessions::{after::After, live::LiveDevice};

impl State {
    /// The registry has the session of epoch `former` under a newer one. `false`: the session is over.
    pub(crate) fn renewed(
        &mut self,
        former: Epoch,
        live: Arc<LiveDevice>,
        attached: device::Attached,
        now: Instant,
        after: &mut After,
    ) -> bool {
        let (slot, shared) = (live.slot, Arc::clone(&self.shared));
        let Some((outbox, open)) = self.open_slot(slot, former) else { return false };
        outbox.push_control(frame(slot, Frame::Attached(attached)));
        open.renew(live, now, outbox, after);
        open.publish(&shared);
        true
    }

    /// Asks the agent for a sign of life now.
    pub(crate) fn probe(&mut self, now: Instant) {
        if self.phase == Phase::Talking {
            self.last_ping = now;
            self.pings += 1;
            self.outbox.push_control(frame(0, Frame::Ping(device::Ping { number: self.pings })));
        }
    }
}
