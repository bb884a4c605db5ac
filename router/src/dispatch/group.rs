//! Calls to any device of a group: this node while it has room, then other nodes, a few of them at most.

use rollcall_registry::{
    Registrar,
    model::ids::NodeId,
    routes::view::{Candidate, GroupMatch},
};

use super::{dispatcher::Dispatcher, send::Aim, trip::Trip};
use crate::{
    call::{Call, Reply},
    core::{
        device::Queueing,
        pick::Room,
        placement::{self, Holder},
    },
    limits,
    links::outbound::unreachable,
    outcome::{Failure, Reason},
    sessions::table::GroupQuery,
};

/// Where to try next.
struct Choice {
    node: NodeId,
    /// Nobody is left to be tried after it: the call may wait there.
    last: bool,
}

impl<R: Registrar> Dispatcher<R> {
    /// Routes a call to any matching device of its group.
    pub(crate) async fn to_any(&self, call: &Call, trip: &mut Trip) -> Result<Reply, Failure> {
        let labels: Vec<(&str, &str)> =
            call.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let query = GroupQuery {
            namespace: &call.namespace,
            group: &call.group,
            action: &call.action,
            labels: &labels,
        };
        let mut tried: Vec<NodeId> = Vec::new();
        let mut failed = None;
        while (tried.len() as u32) < limits::PLACEMENT_ATTEMPTS {
            let choice = match self.choose(query, &tried) {
                Ok(choice) => choice,
                Err(failure) => return Err(failed.unwrap_or(failure)),
            };
            let last = choice.last || tried.len() as u32 + 1 == limits::PLACEMENT_ATTEMPTS;
            let queueing = if last { Queueing::Allowed } else { Queueing::Forbidden };
            trip.routed(self.registry.routes().applied_index());
            match self.send(call, Aim { node: choice.node, device: None, queueing }, trip).await {
                Err(failure) if failure.retryable() => failed = Some(failure),
                ended => return ended,
            }
            tried.push(choice.node);
        }
        Err(failed.unwrap_or_else(no_device))
    }

    fn choose(&self, query: GroupQuery<'_>, tried: &[NodeId]) -> Result<Choice, Failure> {
        let me = self.registry.node();
        let own = !tried.contains(&me);
        // The rows of this node's own devices are as good as the table that is made from them.
        if own && matches!(self.sessions.table.pick(query), Some((_, Room::Some))) {
            return Ok(Choice { node: me, last: false });
        }
        let mut candidates = Vec::new();
        let routes = self.registry.routes();
        let found =
            routes.candidates(query.namespace, query.group, query.action, query.labels, &mut candidates);
        nobody(found)?;
        candidates.retain(|candidate| !tried.contains(&candidate.node));
        let here = candidates.iter().any(|candidate| candidate.node == me);
        let peers: Vec<Holder> = candidates.iter().filter_map(|candidate| self.holder(candidate)).collect();
        match placement::choose(&peers, [rand::random(), rand::random()]) {
            Some(node) => Ok(Choice { node, last: peers.len() == 1 && !here }),
            None if here => Ok(Choice { node: me, last: true }),
            None => Err(unreachable()),
        }
    }

    /// A candidate as placement sees it; `None` for this node and for those that cannot be reached.
    fn holder(&self, candidate: &Candidate) -> Option<Holder> {
        let peer = self.peers.get(candidate.node).filter(|peer| peer.is_up())?;
        Some(Holder { node: candidate.node, capacity: candidate.capacity.max(1), load: peer.load() })
    }
}

/// The failure of a group that cannot take a call.
pub(super) fn nobody(found: GroupMatch) -> Result<(), Failure> {
    match found {
        GroupMatch::Found => Ok(()),
        GroupMatch::NoDevice => Err(no_device()),
        GroupMatch::ActionUnknown => {
            let message = "no connected device of the group offers the action";
            Err(Failure::not_executed(Reason::ActionUnknown, message))
        }
    }
}

pub(super) fn no_device() -> Failure {
    Failure::not_executed(Reason::NoDevice, "no connected device of the group matches")
}
