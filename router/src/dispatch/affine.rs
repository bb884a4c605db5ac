//! Calls with an affinity key: the key's own device of the group, or the next in its order while that has no room.

use rollcall_registry::{Registrar, routes::view::Member};

use super::{
    dispatcher::Dispatcher,
    group::{no_device, nobody},
    send::Aim,
    trip::Trip,
};
use crate::{
    call::{Call, Reply},
    core::affinity::{Standing, Walk},
    links::outbound::unreachable,
    outcome::Failure,
};

impl<R: Registrar> Dispatcher<R> {
    /// Routes a call to the device of its group that its key belongs to.
    ///
    /// Every node chooses the same, without asking anyone. Takes time by the number of the group's devices.
    pub(super) async fn to_its_own(&self, call: &Call, key: &str, trip: &mut Trip) -> Result<Reply, Failure> {
        let members = self.members(call)?;
        let names = members.iter().map(|member| member.device.as_str());
        let mut walk = Walk::new(key, names, self.attempts());
        let mut failed = None;
        while let Some(step) = walk.next(|member| self.standing(&members[member])) {
            if failed.is_some() {
                self.takes_detour();
            }
            let Member { device, session, .. } = &members[step.member];
            let aim = Aim::at(device, *session, step.queueing);
            match self.follow(call, aim, device, trip).await {
                Err(failure) if failure.retryable() => failed = Some(failure),
                ended => return ended,
            }
        }
        Err(failed.unwrap_or_else(unreachable))
    }

    fn members(&self, call: &Call) -> Result<Vec<Member>, Failure> {
        let labels: Vec<(&str, &str)> =
            call.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let (routes, mut members) = (self.registry.routes(), Vec::new());
        routes.members(&call.namespace, &call.group, &call.action, &labels, &mut members);
        if members.is_empty() {
            let mut candidates = Vec::new();
            nobody(routes.candidates(&call.namespace, &call.group, &call.action, &labels, &mut candidates))?;
            // They came or went between the two looks.
            return Err(no_device());
        }
        Ok(members)
    }

    fn standing(&self, member: &Member) -> Standing {
        if member.session.node != self.registry.node() {
            let up = self.peers.get(member.session.node).is_some_and(|peer| peer.is_up());
            return if up { Standing::Open } else { Standing::Away };
        }
        match self.sessions.table.get(member.session.epoch) {
            Some(live) if !live.load().has_room() => Standing::Busy,
            // One that is not in the table yet, or any more, is for the stale route to find.
            Some(_) | None => Standing::Open,
        }
    }
}
