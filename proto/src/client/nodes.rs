//! The nodes that calls go through: each with its own connection, taking turns; one that cannot be reached is passed
//! over for a while.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;
use rollcall_transport::AuthorizedChannel;

use super::limits::AWAY;
use crate::api::invoke_service_client::InvokeServiceClient;

/// One node.
#[derive(Debug)]
struct Node {
    calls: InvokeServiceClient<AuthorizedChannel>,
    /// Until when it is passed over.
    away: Mutex<Option<Instant>>,
}

/// The nodes that calls go through.
#[derive(Debug, Clone)]
pub(super) struct Nodes {
    nodes: Arc<[Node]>,
    turn: Arc<AtomicUsize>,
}

/// Names a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat(usize);

impl Nodes {
    pub(super) fn new(clients: Vec<InvokeServiceClient<AuthorizedChannel>>) -> Self {
        let nodes = clients.into_iter().map(|calls| Node { calls, away: Mutex::new(None) }).collect();
        Self { nodes, turn: Arc::default() }
    }

    /// The next node: not `former` while there is another, and one that could be reached lately if there is one.
    pub(super) fn next(&self, former: Option<Seat>) -> (Seat, InvokeServiceClient<AuthorizedChannel>) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.nodes.len();
        let now = Instant::now();
        let order = (0..count).map(|step| turn.wrapping_add(step) % count);
        let away = |at: usize| self.nodes[at].away.lock().is_some_and(|until| until > now);
        let rank = |at: usize| (away(at), Some(Seat(at)) == former);
        // Of equals the first in turn.
        let at = order.min_by_key(|at| rank(*at)).unwrap_or_default();
        (Seat(at), self.nodes[at].calls.clone())
    }

    /// A node could not be reached.
    pub(super) fn unreachable(&self, seat: Seat) {
        *self.nodes[seat.0].away.lock() = Some(Instant::now() + AWAY);
    }

    /// A node answered.
    pub(super) fn reached(&self, seat: Seat) {
        let mut away = self.nodes[seat.0].away.lock();
        if away.is_some() {
            *away = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use rollcall_transport::Access;
    use tonic::transport::Endpoint;

    use super::*;

    fn three() -> Nodes {
        let clients = (0..3)
            .map(|_| Endpoint::from_static("http://127.0.0.1:9").connect_lazy())
            .map(|channel| InvokeServiceClient::new(Access::default().authorize(channel)));
        Nodes::new(clients.collect())
    }

    #[tokio::test]
    async fn nodes_take_turns() {
        let nodes = three();
        let turns: Vec<usize> = (0..6).map(|_| nodes.next(None).0.0).collect();
        assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
    }

    #[tokio::test]
    async fn another_node_is_taken_than_the_one_that_failed() {
        let nodes = three();
        for _ in 0..10 {
            assert_ne!(nodes.next(Some(Seat(1))).0, Seat(1));
        }
    }

    #[tokio::test]
    async fn a_node_that_cannot_be_reached_is_passed_over_while_another_can() {
        let nodes = three();
        nodes.unreachable(Seat(0));
        nodes.unreachable(Seat(2));
        assert!(
            (0..6).all(|_| nodes.next(Some(Seat(1))).0 == Seat(1)),
            "rather the same than one that is away"
        );
        nodes.unreachable(Seat(1));
        let turns: Vec<usize> = (0..3).map(|_| nodes.next(None).0.0).collect();
        assert_eq!(turns.len(), 3, "if all are away they still take turns: {turns:?}");
        nodes.reached(Seat(2));
        assert_eq!(nodes.next(None).0, Seat(2));
    }
}
