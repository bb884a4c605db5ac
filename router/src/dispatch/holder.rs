//! The holder's part of a call: to a session by its epoch, or to the best device of a group.

use std::sync::Arc;

use rollcall_registry::{
    Registrar,
    faults::{self, Switch},
    model::ids::{Epoch, LogIndex},
};
use tokio::time::Instant;

use crate::{
    Isolation,
    core::{device::Queueing, once::CallName, pick::Room},
    delivery::{Delivery, ReplyTo},
    limits,
    outcome::{Failure, Reason},
    sessions::{
        device_sessions::DeviceSessions, ending, live::LiveDevice, shared_runs::Entered, slot::Terms,
        table::GroupQuery, ticket::Ticket,
    },
};

/// How often the holder picks again when others were faster to fill the device it had picked.
const PICKS: usize = 3;

impl<R: Registrar> DeviceSessions<R> {
    /// Gives a call to the session of this epoch.
    ///
    /// # Errors
    /// Why not, with the waiter. `STALE_ROUTE` if there is no such session.
    pub(crate) fn to_session(
        &self,
        epoch: Epoch,
        delivery: impl FnOnce() -> Box<Delivery>,
        terms: Terms<'_>,
        reply: ReplyTo,
    ) -> Result<Ticket, (ReplyTo, Failure)> {
        match self.table.get(epoch) {
            Some(live) => self.hand_over(&live, delivery, terms, reply),
            None if self.lingering.is_suspended(epoch) => Err((reply, ending::away())),
            None => {
                Err((reply, Failure::not_executed(Reason::StaleRoute, "the session is no longer held here")))
            }
        }
    }

    /// Gives a call to the least loaded matching device of a group.
    ///
    /// # Errors
    /// Why not, with the waiter. `STALE_ROUTE` if there is no such device.
    pub(crate) fn to_group(
        &self,
        query: GroupQuery<'_>,
        mut delivery: impl FnMut() -> Box<Delivery>,
        terms: Terms<'_>,
        mut reply: ReplyTo,
    ) -> Result<Ticket, (ReplyTo, Failure)> {
        let mut refused = None;
        for _ in 0..PICKS {
            let Some((live, room)) = self.table.pick(query) else { break };
            if room == Room::None && terms.queueing == Queueing::Forbidden {
                let failure = Failure::not_executed(Reason::DeviceBusy, "no device of the group has room");
                return Err((reply, failure));
            }
            if room == Room::Ejected {
                let doubted = live.shown.is_doubted();
                return Err((reply, if doubted { ending::site_lost() } else { ending::ejected() }));
            }
            match self.hand_over(&live, &mut delivery, terms, reply) {
                Ok(ticket) => return Ok(ticket),
                // Another device knows nothing of what this one did.
                Err((waiter, failure)) if !failure.retryable() => return Err((waiter, failure)),
                Err((waiter, failure)) => {
                    reply = waiter;
                    refused = Some(failure);
                }
            }
        }
        let gone = || match (self.is_draining(), self.lingering.suspended()) {
            (true, _) => Failure::not_executed(Reason::HolderDraining, "the holder is about to stop"),
            (false, 0) => {
                Failure::not_executed(Reason::StaleRoute, "no such device of the group is held here")
            }
            (false, _) => ending::away(),
        };
        Err((reply, refused.unwrap_or_else(gone)))
    }

    /// Without a lease, only devices that were just heard are served, if any: the others may have gone to another node.
    fn hand_over(
        &self,
        live: &Arc<LiveDevice>,
        delivery: impl FnOnce() -> Box<Delivery>,
        terms: Terms<'_>,
        reply: ReplyTo,
    ) -> Result<Ticket, (ReplyTo, Failure)> {
        let config = &self.shared.config;
        let served =
            || config.isolation != Isolation::Fence && live.connection.silence() <= config.heard_within();
        if !self.registry.lease_held() && !served() {
            return Err((reply, ending::fenced()));
        }
        if live.shown.is_doubted() {
            return Err((reply, ending::site_lost().on_device(live.key.device.clone())));
        }
        if let Some(name) = terms.name.filter(|_| !faults::is_on(Switch::Repeats)) {
            return self.enter(live, delivery, terms, name, reply);
        }
        live.connection.deliver(live, delivery, terms, reply).map(Ticket::Own)
    }

    /// Executes an idempotent call, or lets it wait for the execution that there is, or answers it from the last one.
    fn enter(
        &self,
        live: &Arc<LiveDevice>,
        delivery: impl FnOnce() -> Box<Delivery>,
        terms: Terms<'_>,
        name: &CallName,
        reply: ReplyTo,
    ) -> Result<Ticket, (ReplyTo, Failure)> {
        let (share, execution) = match self.runs.enter(&live.key, name, reply) {
            Entered::Execute(share, execution) => (share, execution),
            Entered::Joined(share) => return Ok(Ticket::Shared(share)),
            Entered::Answered => return Ok(Ticket::Answered),
            Entered::Refused(reply, failure) => return Err((reply, failure)),
        };
        match live.connection.deliver(live, delivery, terms, execution) {
            Ok(place) => {
                share.started(place);
                Ok(Ticket::Shared(share))
            }
            Err((execution, failure)) => match share.not_started(execution, &failure) {
                Some(reply) => Err((reply, failure)),
                // It was answered meanwhile.
                None => Ok(Ticket::Answered),
            },
        }
    }

    /// Whether a route that finds nothing here may find it in a moment.
    pub(crate) fn may_catch_up(&self, index: LogIndex) -> bool {
        self.registry.routes().applied_index() < index || !self.awaited.lock().is_empty()
    }

    /// Waits until this replica has reached `index`, and until a session that it says is opening here is open; at most
    /// [`limits::ROUTE_PATIENCE`].
    pub(crate) async fn catch_up(&self, index: LogIndex, epoch: Epoch) {
        let until = Instant::now() + limits::ROUTE_PATIENCE;
        let mut arrivals = self.arrivals.subscribe();
        if self.registry.routes().applied_index() < index {
            drop(self.registry.wait_applied(index, limits::ROUTE_PATIENCE).await);
        }
        while epoch != Epoch(0) && self.table.get(epoch).is_none() && !self.awaited.lock().is_empty() {
            if !matches!(tokio::time::timeout_at(until, arrivals.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}
