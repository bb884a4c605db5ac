//! All peers: kept in step with the registry by one task.

use std::sync::{Arc, Weak};

use hashbrown::HashMap;
use parking_lot::RwLock;
use rollcall_registry::{Registrar, model::ids::NodeId};
use tokio::sync::Notify;

use super::{
    dialer::{Dialer, Target},
    peer::Peer,
};
use crate::{limits, sessions::host::Shared};

/// All peers of this node.
pub(crate) struct Peers<R> {
    registry: Arc<R>,
    shared: Arc<Shared>,
    table: RwLock<HashMap<NodeId, Arc<Peer>>>,
}

impl<R: Registrar> Peers<R> {
    pub(crate) fn new(registry: Arc<R>, shared: Arc<Shared>) -> Self {
        Self { registry, shared, table: RwLock::default() }
    }

    /// A peer.
    pub(crate) fn get(&self, node: NodeId) -> Option<Arc<Peer>> {
        self.table.read().get(&node).cloned()
    }

    /// How many peers take calls.
    pub(crate) fn up(&self) -> usize {
        self.table.read().values().filter(|peer| peer.is_up()).count()
    }

    /// All peers, as they are now.
    pub(crate) fn all(&self) -> Vec<Arc<Peer>> {
        self.table.read().values().cloned().collect()
    }

    /// The peers to whom calls went that wait for their devices' return.
    pub(crate) fn all_with_orphans(&self) -> Vec<Arc<Peer>> {
        let has_orphans = |peer: &&Arc<Peer>| peer.links.iter().any(|link| link.has_orphans());
        self.table.read().values().filter(has_orphans).cloned().collect()
    }

    /// Compares the peers with the registry: dials new ones and those that have moved, forgets those that were removed.
    fn review(&self) {
        let me = self.registry.node();
        if me == NodeId(0) {
            // Without a seat of its own, the node would take itself for a peer.
            return;
        }
        let nodes = self.registry.routes().nodes();
        let wanted = nodes.iter().filter(|node| node.id != me && !node.addresses.peer.is_empty());
        let mut fresh: HashMap<NodeId, Arc<Peer>> = HashMap::new();
        for node in wanted {
            let known = self.get(node.id).filter(|peer| peer.address == node.addresses.peer);
            let peer = known.unwrap_or_else(|| {
                Arc::new(self.dial(Peer::new(
                    me,
                    node.id,
                    node.name.clone(),
                    node.addresses.peer.clone(),
                    self.shared.config.links_per_peer.max(1),
                )))
            });
            self.shared.metrics.link_up(&peer.name, peer.links.iter().filter(|link| link.is_up()).count());
            fresh.insert(node.id, peer);
        }
        let names: Vec<_> = fresh.values().map(|peer| peer.name.clone()).collect();
        let former = std::mem::replace(&mut *self.table.write(), fresh);
        for gone in former.values().filter(|peer| !names.contains(&peer.name)) {
            self.shared.metrics.link_gone(&gone.name);
        }
        drop(former);
    }

    fn dial(&self, mut peer: Peer) -> Peer {
        for link in &peer.links {
            let dialer = Dialer {
                registry: Arc::clone(&self.registry),
                shared: Arc::clone(&self.shared),
                link: Arc::clone(link),
                redial: Arc::clone(&peer.redial),
                target: Target { id: peer.id, name: peer.name.clone(), address: peer.address.clone() },
            };
            peer.dialers.push(tokio::spawn(dialer.run()).abort_handle());
        }
        peer
    }

    fn redial(&self) {
        self.table.read().values().for_each(|peer| peer.redial.notify_waiters());
    }
}

/// Keeps the peers in step until they are dropped. `nodes` is told of every change of a node.
pub(crate) async fn follow<R: Registrar>(peers: Weak<Peers<R>>, nodes: Arc<Notify>) {
    loop {
        {
            let Some(peers) = peers.upgrade() else { return };
            peers.review();
        }
        if tokio::time::timeout(limits::PEER_REVIEW, nodes.notified()).await.is_ok()
            && let Some(peers) = peers.upgrade()
        {
            peers.redial();
        }
    }
}
