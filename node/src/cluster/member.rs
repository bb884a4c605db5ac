//! The real registry as the node's cluster.

use std::{sync::Arc, time::Duration};

use rollcall_registry::{
    AdministerError, Administration, ApplyObserver, ChangeError, MembershipChange, MembershipChanged,
    MembershipError, ReadError, Registry,
    backup::{Backup, Freshness, SaveError},
    model::ids::{DeviceKey, Epoch, Incarnation, LogIndex, NodeId},
};

use super::{Cluster, ClusterConfig, ClusterStatus, Cursor, MemberError, Watch, WatchError, WatchItem};

impl Watch for rollcall_registry::Watch {
    async fn next(&mut self) -> Result<WatchItem, WatchError> {
        Self::next(self).await
    }
}

impl Cluster for Registry {
    type Watch = rollcall_registry::Watch;

    async fn start(config: ClusterConfig) -> Result<Self, MemberError> {
        Self::start(config).await.map_err(|error| MemberError(error.to_string()))
    }

    fn peer_routes(&self) -> tonic::service::Routes {
        Self::peer_routes(self)
    }

    fn observe(&self, observer: Arc<dyn ApplyObserver>) {
        Self::observe(self, observer);
    }

    async fn join(&self) -> Result<(), MemberError> {
        Self::join(self).await.map_err(|error| MemberError(error.to_string()))
    }

    fn status(&self) -> ClusterStatus {
        Self::status(self)
    }

    fn watch(&self, after: Option<Cursor>) -> Result<Self::Watch, WatchError> {
        Self::watch(self, after)
    }

    async fn read_index(&self) -> Result<LogIndex, ReadError> {
        Self::read_index(self).await
    }

    async fn disconnect(&self, device: DeviceKey, epoch: Epoch) -> Result<LogIndex, ChangeError> {
        Self::disconnect(self, device, epoch).await
    }

    async fn change_membership(
        &self,
        change: &MembershipChange,
    ) -> Result<MembershipChanged, MembershipError> {
        Self::change_membership(self, change).await
    }

    fn was_removed(&self) -> bool {
        Self::was_removed(self)
    }

    async fn administer(&self, change: Administration) -> Result<LogIndex, AdministerError> {
        Self::administer(self, change).await
    }

    async fn save(&self, freshness: Freshness) -> Result<Backup, SaveError> {
        Self::save(self, freshness).await
    }

    async fn fatal(&self) -> String {
        Self::fatal(self).await.to_string()
    }

    async fn start_draining(&self) {
        Self::start_draining(self).await;
    }

    async fn start_draining_in_turn(&self, provided: Vec<(NodeId, Incarnation)>) -> Result<(), String> {
        Self::start_draining_in_turn(self, provided).await
    }

    fn lease_remaining(&self) -> Duration {
        Self::lease_remaining(self)
    }

    async fn leave_for_good(&self, patience: Duration) -> Result<(), MembershipError> {
        Self::leave_for_good(self, patience).await
    }

    async fn shutdown(&self) {
        Self::shutdown(self).await;
    }
}
