//! Calls to a named device: its row says where it is; a stale route is followed once, to a higher epoch only.

use rollcall_registry::{
    Registrar,
    model::{ids::Epoch, profile::Profile},
    routes::view::{Route, SessionView},
};
use tokio::time::Instant;

use super::{dispatcher::Dispatcher, send::Aim, trip::Trip};
use crate::{
    call::{Call, Reply},
    core::device::Queueing,
    limits,
    outcome::{Failure, Outcome, Reason},
};

impl<R: Registrar> Dispatcher<R> {
    /// Routes a call to the device that it names.
    pub(crate) async fn to_device(
        &self,
        call: &Call,
        device: &str,
        trip: &mut Trip,
    ) -> Result<Reply, Failure> {
        let session = self.session_of(call, device)?;
        let aim = Aim::at(device, session, Queueing::Allowed);
        self.follow(call, aim, device, trip).await
    }

    /// Routes a call to a device's session, and once more to a newer one if the route was stale.
    pub(super) async fn follow(
        &self,
        call: &Call,
        aim: Aim<'_>,
        device: &str,
        trip: &mut Trip,
    ) -> Result<Reply, Failure> {
        let failure = match self.attempt(call, aim, device, trip).await {
            Err(failure) if is_stale(&failure) => failure,
            ended => return ended,
        };
        let stale = aim.device.map_or(Epoch(0), |(_, epoch, _)| epoch);
        match self.newer_session_of(call, device, stale).await? {
            Some(newer) => self.attempt(call, Aim::at(device, newer, aim.queueing), device, trip).await,
            None => Err(failure),
        }
    }

    async fn attempt(
        &self,
        call: &Call,
        aim: Aim<'_>,
        device: &str,
        trip: &mut Trip,
    ) -> Result<Reply, Failure> {
        trip.routed(self.registry.routes().applied_index());
        trip.epoch = aim.device.map_or(Epoch(0), |(_, epoch, _)| epoch);
        self.send(call, aim, trip).await.map_err(|failure| named(failure, device))
    }

    pub(super) fn session_of(&self, call: &Call, device: &str) -> Result<SessionView, Failure> {
        judge(call, self.registry.routes().route(&call.namespace, device))
            .map_err(|(reason, message)| Failure::not_executed(reason, message).on_device(device))
    }

    /// Waits a moment for this replica to learn of the session that made a route stale. Sessions of this node may also
    /// turn up under the same epoch: their commit was applied just before they were ready.
    async fn newer_session_of(
        &self,
        call: &Call,
        device: &str,
        stale: Epoch,
    ) -> Result<Option<SessionView>, Failure> {
        let until = call.deadline.min(Instant::now() + limits::ROUTE_PATIENCE);
        let mut arrivals = self.sessions.arrivals.subscribe();
        loop {
            let session = self.session_of(call, device)?;
            let ready_here =
                session.node == self.registry.node() && self.sessions.table.get(session.epoch).is_some();
            if session.epoch > stale || (session.epoch == stale && ready_here) {
                return Ok(Some(session));
            }
            if !matches!(tokio::time::timeout_at(until, arrivals.changed()).await, Ok(Ok(()))) {
                return Ok(None);
            }
        }
    }
}

/// The session that a route leads to, or why the call may not have it.
///
/// Of a device outside of the call's group nothing is told, whether it is connected, disabled or away: not even that
/// there is one.
fn judge(call: &Call, route: Route) -> Result<SessionView, (Reason, &'static str)> {
    // A broadcast by labels names no group.
    let in_group = |profile: &Profile| call.group.is_empty() || profile.belongs_to(&call.group);
    let (session, profile) = match route {
        Route::Held { session, profile } if in_group(&profile) => (session, profile),
        Route::Disabled { profile } if in_group(&profile) => {
            return Err((Reason::DeviceDisabled, "an administrator disabled the device"));
        }
        Route::Held { .. } | Route::Disabled { .. } | Route::NotConnected => {
            return Err((Reason::NotConnected, "the group has no such device that is connected"));
        }
    };
    if !profile.carries(call.labels()) {
        return Err((Reason::NoDevice, "the device does not carry the labels"));
    }
    if !profile.offers(&call.action) {
        return Err((Reason::ActionUnknown, "the device does not offer the action"));
    }
    Ok(session)
}

pub(super) fn is_stale(failure: &Failure) -> bool {
    failure.reason == Reason::StaleRoute && failure.outcome == Outcome::NotExecuted
}

pub(super) fn named(failure: Failure, device: &str) -> Failure {
    if failure.device_id.is_some() { failure } else { failure.on_device(device) }
}
