//! Connections to peers, by node and purpose: consensus shares none with anything else.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use rollcall_transport::Connector;
use tonic::transport::Endpoint;

use super::line::{self, Line};
use crate::{
    faults::{self, Switch},
    limits::{PEER_CONNECT_TIMEOUT, PEER_KEEPALIVE, PEER_KEEPALIVE_TIMEOUT, PEER_WINDOW_BYTES},
    model::ids::NodeId,
};

/// Where nobody listens: for a node that is cut off on purpose.
const NOWHERE: &str = "127.0.0.1:9";

/// What a connection is for. One of each kind per peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// Votes and heartbeats: never behind anything large.
    Heartbeat,
    /// Log replication.
    Append,
    /// Snapshots.
    Snapshot,
    /// What this node asks of the leader.
    Leader,
}

/// Connections that are open or will be at first use; they reconnect by themselves, resolving the name at each dial.
#[derive(Debug, Clone)]
pub(super) struct Channels {
    connector: Connector,
    open: Arc<Mutex<HashMap<(NodeId, Purpose), Dialled>>>,
    /// Nodes that moved, as the join list found them: the registered address, and the one that holds until it changes.
    moved: Arc<Mutex<HashMap<NodeId, (String, String)>>>,
}

/// An address, and the connection to it.
type Dialled = (String, Line);

impl Channels {
    pub(super) fn new(connector: Connector) -> Self {
        Self { connector, open: Arc::default(), moved: Arc::default() }
    }

    /// How peers are dialled.
    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Closes all connections that nobody uses any more.
    pub(super) fn clear(&self) {
        self.open.lock().clear();
    }

    /// Notes that a node that is registered at one address is reached at another.
    pub(super) fn moved(&self, node: NodeId, registered: String, found: String) {
        if registered != found {
            self.moved.lock().insert(node, (registered, found));
        }
    }

    /// Where a node is reached that is registered at this address. Nodes that all moved at once find each other by it: none
    /// of them can register its new address before.
    pub(super) fn latest(&self, node: NodeId, registered: String) -> String {
        let moved = self.moved.lock();
        let found = moved.get(&node).filter(|(from, _)| *from == registered).map(|(_, to)| to.clone());
        found.unwrap_or(registered)
    }

    /// The connection to `node` at `address` for `purpose`; a new one if the address has changed.
    pub(super) fn get(
        &self,
        node: NodeId,
        address: &str,
        purpose: Purpose,
    ) -> Result<Line, tonic::transport::Error> {
        let address = if faults::is_on(Switch::RaftCut) { NOWHERE } else { address };
        let mut open = self.open.lock();
        if let Some((known, line)) = open.get(&(node, purpose))
            && known == address
        {
            return Ok(line.clone());
        }
        let line = line::to(&self.connector, address)?;
        open.insert((node, purpose), (address.to_owned(), line.clone()));
        Ok(line)
    }
}

/// How peers are spoken to.
pub(super) fn endpoint(connector: &Connector, address: &str) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(connector.url(address))?
        .connect_timeout(PEER_CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PEER_KEEPALIVE)
        .keep_alive_timeout(PEER_KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(PEER_WINDOW_BYTES)
        .initial_connection_window_size(PEER_WINDOW_BYTES))
}
