//! The part of a registry that the node's services and lifecycle need, beyond what device sessions need.
//!
//! A trait so that tests of the services run against a registry in memory; the real one implements it here.

mod member;

use std::{sync::Arc, time::Duration};

use rollcall_registry::{
    AdministerError, Administration, ApplyObserver, ChangeError, MembershipChange, MembershipChanged,
    MembershipError, ReadError, Registrar, Routes,
    backup::{Backup, Freshness, SaveError},
    model::ids::{DeviceKey, Epoch, Incarnation, LogIndex, NodeId},
};
pub use rollcall_registry::{ClusterStatus, Cursor, RegistryConfig as ClusterConfig, WatchError, WatchItem};
use thiserror::Error;

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

    /// Changes who belongs to the cluster, who votes, or who leads. Any node may be asked.
    ///
    /// # Errors
    /// See [`MembershipError`].
    fn change_membership(
        &self,
        change: &MembershipChange,
    ) -> impl Future<Output = Result<MembershipChanged, MembershipError>> + Send;

    /// Whether an operator removed this node from its cluster.
    fn was_removed(&self) -> bool;

    /// Commits a change by an administrator, and waits until this node has applied it.
    ///
    /// # Errors
    /// See [`AdministerError`].
    fn administer(
        &self,
        change: Administration,
    ) -> impl Future<Output = Result<LogIndex, AdministerError>> + Send;

    /// Makes a backup.
    ///
    /// # Errors
    /// See [`SaveError`].
    fn save(&self, freshness: Freshness) -> impl Future<Output = Result<Backup, SaveError>> + Send;

    /// Resolves when the node must stop, and says why.
    fn fatal(&self) -> impl Future<Output = String> + Send;

    /// Says to the cluster that this node is about to stop; tries for a moment.
    ///
    /// # Cancel safety
    /// Dropped, it may be said or not.
    fn start_draining(&self) -> impl Future<Output = ()> + Send;

    /// Says to the cluster that this node is about to stop, on condition that these lives of others go on and do not drain.
    ///
    /// # Errors
    /// Why not, for people. It may be said all the same.
    fn start_draining_in_turn(
        &self,
        provided: Vec<(NodeId, Incarnation)>,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// How long this node's lease would hold without another beat.
    fn lease_remaining(&self) -> Duration;

    /// Has this node removed from its cluster for good; tries for so long.
    ///
    /// # Errors
    /// Why it is a member still, or may be.
    fn leave_for_good(&self, patience: Duration) -> impl Future<Output = Result<(), MembershipError>> + Send;

    /// Leaves cleanly.
    fn shutdown(&self) -> impl Future<Output = ()> + Send;
}

/// Why a node is not a member.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct MemberError(pub String);

/// How many voters may still be lost before there is no quorum, by those that are up.
pub fn failure_tolerance(status: &ClusterStatus, routes: &Routes) -> usize {
    let up = status.voters.iter().filter(|id| routes.node(**id).is_some_and(|node| node.up)).count();
    beyond_quorum(status.voters.len(), up)
}

fn beyond_quorum(voters: usize, up: usize) -> usize {
    up.saturating_sub(voters / 2 + 1)
}

#[cfg(test)]
mod tests {
    use super::beyond_quorum;

    #[test]
    fn a_cluster_bears_the_loss_of_what_exceeds_its_quorum() {
        for (voters, up, tolerance) in
            [(1, 1, 0), (2, 2, 0), (3, 3, 1), (3, 2, 0), (3, 1, 0), (5, 5, 2), (5, 4, 1)]
        {
            assert_eq!(beyond_quorum(voters, up), tolerance, "{up} of {voters}");
        }
        assert_eq!(beyond_quorum(0, 0), 0);
    }
}
