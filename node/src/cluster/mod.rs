//! The part of a registry that the node's services and lifecycle need, beyond what device sessions need.
//!
//! A trait so that tests of the services run against a registry in memory; the real one implements it here.

mod member;

use std::{path::PathBuf, sync::Arc};

use rollcall_registry::{
    ApplyObserver, ChangeError, ReadError, Registrar,
    model::{
        command::Addresses,
        event::Event,
        ids::{ClusterId, DeviceKey, Epoch, LogIndex, NodeId},
    },
};
use thiserror::Error;

pub use member::Member;

/// What a member starts from.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// The node's stable name.
    pub name: String,
    /// The data folder.
    pub data_dir: PathBuf,
    /// Peer addresses of the cluster.
    pub join: Vec<String>,
    /// How many founders a new cluster has; 0: only join.
    pub bootstrap_expect: usize,
    /// What others are told.
    pub advertise: Addresses,
    /// The version of this program.
    pub version: String,
}

/// The cluster as this node sees it now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterStatus {
    /// `None` before it is founded or joined.
    pub cluster_id: Option<ClusterId>,
    /// This node.
    pub node: NodeId,
    /// This node's name.
    pub name: String,
    /// The leader, if one is known.
    pub leader: Option<NodeId>,
    /// The Raft term.
    pub term: u64,
    /// The last index applied here.
    pub applied: LogIndex,
    /// The last index of this node's log.
    pub last_log: LogIndex,
    /// Nodes that vote.
    pub voters: Vec<NodeId>,
    /// Nodes that do not.
    pub learners: Vec<NodeId>,
    /// Whether the leader heard from a quorum of late, as far as this node can tell.
    pub has_quorum: bool,
    /// Whether this node's lease holds.
    pub lease_held: bool,
}

/// A point in the stream of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// The entry of the last change seen.
    pub index: LogIndex,
    /// The position of that change among those of its entry.
    pub position: u32,
}

/// A change, and where to go on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchItem {
    /// The change's own place.
    pub cursor: Cursor,
    /// The change.
    pub event: Event,
}

/// Why a watch cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WatchError {
    /// Changes after the cursor are no longer kept.
    #[error("the changes after this cursor are no longer kept")]
    TooOld,
    /// The cursor belongs to another cluster.
    #[error("the cursor belongs to another cluster")]
    OtherCluster,
    /// The node stops.
    #[error("the node stops")]
    Stopping,
}

/// Changes from a cursor on.
pub trait Watch: Send + 'static {
    /// The next change; waits for it.
    ///
    /// # Errors
    /// [`WatchError`]; the watch has then ended.
    ///
    /// # Cancel safety
    /// No change is lost when the future is dropped.
    fn next(&mut self) -> impl Future<Output = Result<WatchItem, WatchError>> + Send;
}

/// A node's membership in its cluster.
pub trait Cluster: Registrar + Clone {
    /// What [`Self::watch`] gives.
    type Watch: Watch;

    /// Opens the data folder.
    ///
    /// # Errors
    /// For people; says what to do.
    fn start(config: ClusterConfig) -> impl Future<Output = Result<Self, MemberError>> + Send;

    /// The services of the peer listener.
    fn peer_routes(&self) -> tonic::service::Routes;

    /// Adds a follower of the log; before [`Self::join`].
    fn observe(&self, observer: Arc<dyn ApplyObserver>);

    /// Founds or joins the cluster and registers this node; once the peer listener serves.
    ///
    /// # Errors
    /// When it has failed for good.
    fn join(&self) -> impl Future<Output = Result<(), MemberError>> + Send;

    /// A cheap snapshot.
    fn status(&self) -> ClusterStatus;

    /// Changes after this cursor, or from now on.
    ///
    /// # Errors
    /// [`WatchError`].
    fn watch(&self, after: Option<Cursor>) -> Result<Self::Watch, WatchError>;

    /// An index that covers everything acknowledged before the call; wait for it with `wait_applied`.
    ///
    /// # Errors
    /// [`ReadError::NoLeader`].
    fn read_index(&self) -> impl Future<Output = Result<LogIndex, ReadError>> + Send;

    /// Ends a session wherever it is held, if it has this epoch.
    ///
    /// # Errors
    /// See [`ChangeError`].
    fn disconnect(
        &self,
        device: DeviceKey,
        epoch: Epoch,
    ) -> impl Future<Output = Result<LogIndex, ChangeError>> + Send;

    /// Resolves when the node must stop, and says why.
    fn fatal(&self) -> impl Future<Output = String> + Send;

    /// Leaves cleanly.
    fn shutdown(&self) -> impl Future<Output = ()> + Send;
}

/// Why a node is not a member.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct MemberError(pub String);
