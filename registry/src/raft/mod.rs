//! The registry's openraft adapter: the only place that names openraft, and the gRPC services of consensus.

mod channels;
mod chores;
mod compaction;
mod compactor;
mod comparison;
pub(crate) mod consensus;
mod door;
pub mod entry_codec;
mod entry_size;
mod expulsion;
mod housekeeping;
mod identity;
mod joining;
pub(crate) mod leader;
mod line;
pub mod log_storage;
pub mod logged_command;
mod members;
mod membership_service;
mod membership_wire;
mod network;
mod operator;
mod presence;
mod purge_floor;
mod raft_service;
mod recent_entries;
mod record_refusal;
mod saving;
mod seat;
#[cfg(feature = "simulation")]
pub mod seeded_runtime;
pub mod snapshot;
mod snapshot_transfer;
pub mod state_machine;
pub mod type_config;
mod wire;

use std::sync::Arc;

use rollcall_proto::peer::{
    membership_service_server::MembershipServiceServer, raft_service_server::RaftServiceServer,
};

pub use compaction::LogBounds;
pub(crate) use consensus::LeaderError;
pub(crate) use entry_size::judge_change;
pub(crate) use expulsion::Expulsion;
pub use identity::Seat;
pub(crate) use leader::Proposed;
pub(crate) use saving::snapshot_at;
pub(crate) use seat::{Seated, status};

/// The durable log, as openraft uses it.
pub(crate) type Log = log_storage::RaftLog<crate::storage::NodeLog>;
/// The model, as openraft uses it.
pub(crate) type Machine = state_machine::StateMachine;
/// Snapshots on disk.
pub(crate) type Snapshots = crate::storage::SnapshotStore;

use self::{door::Door, joining::Joining, membership_service::MembershipServer, raft_service::RaftServer};
use crate::{limits::PEER_MESSAGE_BYTES, registry::Registry, start_error::StartError};

/// The gRPC services for the peer listener.
pub(crate) fn peer_routes(registry: &Registry) -> tonic::service::Routes {
    let door = Door { inner: Arc::clone(&registry.inner) };
    let raft = RaftServiceServer::new(RaftServer { door: door.clone() })
        .max_decoding_message_size(PEER_MESSAGE_BYTES)
        .max_encoding_message_size(PEER_MESSAGE_BYTES);
    let membership =
        MembershipServiceServer::new(MembershipServer { door }).max_decoding_message_size(PEER_MESSAGE_BYTES);
    tonic::service::Routes::new(raft).add_service(membership)
}

/// Founds or joins a cluster and registers this node.
pub(crate) async fn join(registry: &Registry) -> Result<(), StartError> {
    let inner = &registry.inner;
    let mut joining = Joining { door: Door { inner: Arc::clone(inner) }, said: String::new() };
    joining.find_seat().await?;
    let seated = seat::take(inner).await?;
    joining.check_cluster(seated.seat()).await?;
    if let Some(founding) = inner.folder.founding()
        && founding.candidate == inner.folder.name()
    {
        joining.found(&founding, &seated.leader.consensus).await;
    }
    joining.wait_registered(seated.seat()).await?;
    inner.folder.joined(seated.seat())?;
    Ok(())
}
