//! What the peer services share: this node's Raft once it has a place in a cluster, and its folder before that.

use std::sync::Arc;

use tonic::Status;

use super::{Snapshots, consensus::Consensus, entry_size, identity::removed, leader::Leader, seat};
use crate::{
    membership::{folder::Founding, founding::Description},
    model::{command::Command, ids::NodeId},
    registry::Inner,
};

/// Shared by the peer services: cheap, cloneable.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) inner: Arc<Inner>,
}

impl Door {
    /// This node's Raft.
    #[allow(clippy::result_large_err)]
    pub(super) fn consensus(&self) -> Result<Consensus, Status> {
        Ok(self.leader()?.consensus)
    }

    /// The way to the leader.
    #[allow(clippy::result_large_err)]
    pub(super) fn leader(&self) -> Result<Leader, Status> {
        let seated = self.inner.seated.get().map(|seated| seated.leader.clone());
        seated.ok_or_else(|| Status::unavailable("this node belongs to no cluster yet"))
    }

    /// Refuses a request from a node that was removed: that is how it learns so.
    #[allow(clippy::result_large_err)]
    pub(super) fn refuse_removed(&self, source: NodeId) -> Result<(), Status> {
        if self.inner.routes.was_removed(source) { Err(removed(source)) } else { Ok(()) }
    }

    /// Refuses Raft's messages until this node's disk was compared with its peers'.
    #[allow(clippy::result_large_err)]
    pub(super) fn refuse_unless_sound(&self) -> Result<(), Status> {
        match self.inner.seated.get() {
            Some(seated) if seated.standing.is_good() => Ok(()),
            _ => Err(Status::unavailable("this node compares its disk with its peers first")),
        }
    }

    /// Where received snapshots go.
    pub(super) fn snapshots(&self) -> Snapshots {
        self.inner.snapshots.clone()
    }

    /// What this node says of itself.
    pub(super) fn describe(&self) -> Description {
        let folder = &self.inner.folder;
        // A member says so before it has replayed its log: nobody may found a cluster beside one that is starting.
        let (founding, founded) = (folder.founding(), self.inner.routes.cluster_id());
        let seat = folder.seat().filter(|seat| founding.is_none() || founded == Some(seat.cluster));
        Description {
            name: folder.name().to_owned(),
            storage: folder.storage(),
            addresses: self.inner.config.advertise.clone(),
            member_of: seat.map(|seat| (seat.cluster, seat.node)),
            consented_to: founding.map(|founding| founding.candidate),
        }
    }

    /// Consents to a founding, or says why not.
    pub(super) async fn consent(&self, founding: &Founding) -> Result<(), String> {
        let me = self.inner.folder.name();
        let expected = self.inner.config.bootstrap_expect;
        if expected == 0 {
            return Err(format!("{me} does not take part in foundings (bootstrap_expect = 0)"));
        }
        if founding.cluster.members.len() != expected {
            let offered = founding.cluster.members.len();
            return Err(format!("{me} expects {expected} founding nodes, the proposal has {offered}"));
        }
        let command = Command::FoundCluster(founding.cluster.clone()).into();
        entry_size::judge(&command).map_err(|large| large.to_string())?;
        let mine = founding.cluster.members.iter().find(|member| member.name == me);
        let Some(mine) = mine else {
            return Err(format!("the proposal does not name {me}"));
        };
        if mine.storage != self.inner.folder.storage() {
            return Err(format!(
                "{me} has another data folder than the proposal names: it was emptied since; \
                 empty the data folders of all founding nodes, then start them again"
            ));
        }
        match self.inner.folder.consent(founding) {
            Ok(true) => seat::take(&self.inner).await.map(drop).map_err(|error| error.to_string()),
            Ok(false) => Err(format!("{me} belongs to a cluster or has consented to another founding")),
            Err(error) => Err(error.to_string()),
        }
    }
}
