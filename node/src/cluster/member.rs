//! The registry that `rollcall serve` runs on. Until it is joined to this crate, a node says so and does not start.

use std::{sync::Arc, time::Duration};

use rollcall_registry::{
    ApplyObserver, ChangeError, Opened, ReadError, Registrar, Routes,
    model::{
        command::OpenSession,
        ids::{DeviceKey, Epoch, Incarnation, LogIndex, NodeId},
        profile::Profile,
    },
};

use super::{Cluster, ClusterConfig, ClusterStatus, Cursor, MemberError, Watch, WatchError, WatchItem};

/// No registry: there is no value of this type.
#[derive(Debug, Clone, Copy)]
pub enum Member {}

impl Watch for Member {
    async fn next(&mut self) -> Result<WatchItem, WatchError> {
        match *self {}
    }
}

impl Registrar for Member {
    async fn open(&self, _device: DeviceKey, _open: OpenSession) -> Result<Opened, ChangeError> {
        match *self {}
    }

    async fn update(
        &self,
        _device: DeviceKey,
        _epoch: Epoch,
        _profile: Arc<Profile>,
    ) -> Result<LogIndex, ChangeError> {
        match *self {}
    }

    fn close(&self, _device: DeviceKey, _epoch: Epoch) {
        match *self {}
    }

    fn routes(&self) -> &Routes {
        match *self {}
    }

    fn node(&self) -> NodeId {
        match *self {}
    }

    fn incarnation(&self) -> Incarnation {
        match *self {}
    }

    fn lease_held(&self) -> bool {
        match *self {}
    }

    async fn wait_applied(&self, _index: LogIndex, _patience: Duration) -> Result<(), ReadError> {
        match *self {}
    }
}

impl Cluster for Member {
    type Watch = Self;

    async fn start(_config: ClusterConfig) -> Result<Self, MemberError> {
        Err(MemberError("this build has no registry".to_owned()))
    }

    fn peer_routes(&self) -> tonic::service::Routes {
        match *self {}
    }

    fn observe(&self, _observer: Arc<dyn ApplyObserver>) {
        match *self {}
    }

    async fn join(&self) -> Result<(), MemberError> {
        match *self {}
    }

    fn status(&self) -> ClusterStatus {
        match *self {}
    }

    fn watch(&self, _after: Option<Cursor>) -> Result<Self::Watch, WatchError> {
        match *self {}
    }

    async fn read_index(&self) -> Result<LogIndex, ReadError> {
        match *self {}
    }

    async fn disconnect(&self, _device: DeviceKey, _epoch: Epoch) -> Result<LogIndex, ChangeError> {
        match *self {}
    }

    async fn fatal(&self) -> String {
        match *self {}
    }

    async fn shutdown(&self) {
        match *self {}
    }
}
