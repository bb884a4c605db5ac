//! Calls to any device of a group: this node while it has room, then other nodes, a few of them at most.

use rollcall_registry::{
    Registrar,
    model::ids::NodeId,
    routes::view::{Candidate, GroupMatch},
};
use tokio::time::Instant;

use super::{dispatcher::Dispatcher, named::is_stale, send::Aim, trip::Trip};
use crate::{
    call::{Call, Reply},
    core::{
        device::Queueing,
        placement::{self, Holder, Own, Placed, Pressed, Scene},
    },
    limits,
    links::outbound::unreachable,
    outcome::{Failure, Reason},
    sessions::table::GroupQuery,
};

/// Where to try next.
pub(super) struct Choice {
    pub(super) node: NodeId,
    /// Nobody is left to be tried after it: the call may wait there.
    pub(super) last: bool,
}

impl<R: Registrar> Dispatcher<R> {
    /// Routes a call to any matching device of its group.
    pub(crate) async fn to_any(&self, call: &Call, trip: &mut Trip) -> Result<Reply, Failure> {
        let labels: Vec<(&str, &str)> = call.labels().collect();
        let query = call.query(&labels);
        let mut tried: Vec<NodeId> = Vec::new();
        let (mut failed, attempts, mut moves) = (None, self.attempts(), 0_u32);
        loop {
            // As for a named device, the first stale route is followed for nothing.
            let made = tried.len() as u32 + moves.saturating_sub(1);
            if made >= attempts {
                break;
            }
            if failed.is_some() {
                self.takes_detour();
            }
            let choice = match self.choose(query, &tried) {
                Ok(choice) => choice,
                Err(failure) => return Err(failed.unwrap_or(failure)),
            };
            let last = choice.last || made + 1 == attempts;
            let queueing = if last { Queueing::Allowed } else { Queueing::Forbidden };
            trip.routed(self.registry.routes().applied_index());
            match self.send(call, Aim { node: choice.node, device: None, queueing }, trip).await {
                // The node has others, or has given them away as well: its rows will tell in a moment.
                Err(failure) if has_moved(&failure) => {
                    moves += 1;
                    self.await_move(call, &failure, choice.node).await;
                    failed = Some(failure);
                }
                Err(failure) if failure.retryable() => {
                    failed = Some(failure);
                    tried.push(choice.node);
                }
                ended => return ended,
            }
        }
        Err(failed.unwrap_or_else(no_device))
    }

    /// Waits a moment until this replica knows, too, that the device which refused a call has left a node.
    async fn await_move(&self, call: &Call, refused: &Failure, node: NodeId) {
        let Some(device) = &refused.device_id else { return };
        let session = || self.session_of(call, device).ok().filter(|session| session.node == node);
        let Some(before) = session() else { return };
        let until = call.deadline.min(Instant::now() + limits::ROUTE_PATIENCE);
        let mut arrivals = self.sessions.arrivals.subscribe();
        while session().is_some_and(|session| session.epoch == before.epoch) {
            if !matches!(tokio::time::timeout_at(until, arrivals.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    pub(super) fn choose(&self, query: GroupQuery<'_>, tried: &[NodeId]) -> Result<Choice, Failure> {
        let me = self.registry.node();
        let has_room = !tried.contains(&me) && self.sessions.table.has_room(query);
        let peers_up = self.peers.up();
        // The rows of this node's own devices are as good as the table that is made from them.
        if has_room && peers_up == 0 {
            return Ok(Choice { node: me, last: true });
        }
        let mut candidates = Vec::new();
        let routes = self.registry.routes();
        let found =
            routes.candidates(query.namespace, query.group, query.action, query.labels, &mut candidates);
        nobody(found)?;
        candidates.retain(|candidate| !tried.contains(&candidate.node));
        self.pass_over_draining(&mut candidates);
        let own = candidates.iter().find(|candidate| candidate.node == me);
        let own = own.map(|own| Own { capacity: own.capacity, has_room });
        let holders: Vec<Holder> =
            candidates.iter().filter_map(|candidate| self.holder(query, candidate)).collect();
        let scene = Scene { own, holders: &holders, nodes: peers_up as u64 + 1, again: !tried.is_empty() };
        match placement::choose(scene, self.draws.next(), rand::random()) {
            Placed::Here => Ok(Choice { node: me, last: holders.is_empty() }),
            Placed::There(node) => Ok(Choice { node, last: holders.len() == 1 && own.is_none() }),
            Placed::Nowhere => Err(unreachable()),
        }
    }

    /// Leaves out nodes that are about to stop while another one can be reached: their devices are on the move.
    fn pass_over_draining(&self, candidates: &mut Vec<Candidate>) {
        let routes = self.registry.routes();
        let me = self.registry.node();
        let reached = |node| node == me || self.peers.get(node).is_some_and(|peer| peer.is_up());
        if candidates.iter().any(|it| !routes.is_draining(it.node) && reached(it.node)) {
            candidates.retain(|it| !routes.is_draining(it.node));
        }
    }

    /// A candidate as placement sees it; `None` for this node and for those that cannot be reached.
    fn holder(&self, query: GroupQuery<'_>, candidate: &Candidate) -> Option<Holder> {
        let peer = self.peers.get(candidate.node).filter(|peer| peer.is_up())?;
        let load = peer.hints.load(query.namespace, query.group);
        let pressed = if peer.is_pressed() { Pressed::Yes } else { Pressed::No };
        Some(Holder { node: candidate.node, capacity: candidate.capacity.max(1), load, pressed })
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

/// Whether a device of a group has refused a call because it has a newer session: perhaps on another node.
pub(super) fn has_moved(failure: &Failure) -> bool {
    is_stale(failure) && failure.device_id.is_some()
}

pub(super) fn no_device() -> Failure {
    Failure::not_executed(Reason::NoDevice, "no connected device of the group matches")
}
