//! What an idempotent call does when nobody knows whether it ran: again under its request id, to whoever took over.

use rollcall_registry::{
    Registrar,
    faults::{self, Switch},
};
use tokio::time::Instant;

use super::{dispatcher::Dispatcher, trip::Trip};
use crate::{
    call::{Call, Reply},
    core::retry::{Repeatable, Verdict, judge, sum_up},
    limits,
    outcome::{Failure, Reason},
};

impl<R: Registrar> Dispatcher<R> {
    /// Routes a call; if it may be executed more than once, again while nobody knows whether it ran.
    pub(super) async fn route(&self, call: &Call, trip: &mut Trip) -> Result<Reply, Failure> {
        let repeatable = if call.idempotent || faults::is_on(Switch::UnknownRetried) {
            Repeatable::Yes
        } else {
            Repeatable::No
        };
        if call.idempotent {
            self.retries.pay_in();
        }
        let mut uncertain: Option<Failure> = None;
        let (mut until, mut left) = (call.deadline, limits::RETRIES);
        loop {
            let failure = match self.route_once(call, trip).await {
                Err(failure) => failure,
                answered => return answered,
            };
            let verdict = judge(&failure, repeatable, uncertain.as_ref());
            match verdict {
                Verdict::Final => return Err(sum_up(failure, uncertain)),
                Verdict::AsBefore => {}
                Verdict::Again if left > 0 && call.deadline > Instant::now() && self.retries.take() => {
                    left -= 1;
                    until = call.deadline.min(Instant::now() + limits::RETRY_PATIENCE);
                    uncertain = Some(failure);
                }
                Verdict::Again => return Err(failure),
            }
            if !self.may_try_again(call, trip, verdict, uncertain.as_ref(), until).await {
                return Err(uncertain.unwrap_or_else(super::group::no_device));
            }
            self.shared.metrics.retries.increment(1);
        }
    }

    /// Waits until another attempt makes sense; `false`: in vain.
    async fn may_try_again(
        &self,
        call: &Call,
        trip: &Trip,
        verdict: Verdict,
        uncertain: Option<&Failure>,
        until: Instant,
    ) -> bool {
        let session_lost = uncertain.is_some_and(|failure| failure.reason == Reason::DeviceLost);
        let mut arrivals = self.sessions.arrivals.subscribe();
        // What was refused just now would be refused again.
        let mut looks = verdict == Verdict::Again;
        loop {
            arrivals.mark_unchanged();
            if looks && self.has_taken_over(call, trip, session_lost) {
                return true;
            }
            looks = true;
            if Instant::now() >= until {
                return false;
            }
            // Links say nothing when they come back, so that one looks now and then.
            let look = until.min(Instant::now() + limits::RETRY_RECHECK);
            drop(tokio::time::timeout_at(look, arrivals.changed()).await);
            // Devices come by the thousand: look once for many of them.
            tokio::time::sleep_until(until.min(Instant::now() + limits::CONNECT_RECHECK)).await;
        }
    }

    fn has_taken_over(&self, call: &Call, trip: &Trip, session_lost: bool) -> bool {
        // A group's devices are looked at when the call is routed.
        let Some(device) = &call.device_id else { return true };
        let Ok(session) = self.session_of(call, device) else { return false };
        if session.epoch <= trip.epoch && session_lost {
            return false;
        }
        if session.node == self.registry.node() {
            self.sessions.table.get(session.epoch).is_some()
        } else {
            self.peers.get(session.node).is_some_and(|peer| peer.is_up())
        }
    }
}
