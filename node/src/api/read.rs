//! How fresh a read is: waits until this node knows as much as the request asks for.

use rollcall_proto::api::Consistency;
use rollcall_registry::model::ids::LogIndex;

use super::{status::Refusal, validate::Invalid};
use crate::{cluster::Cluster, limits::READ_PATIENCE};

/// Waits until this replica is as fresh as asked; the index that it then has, at least.
///
/// # Errors
/// No leader confirmed a linearizable read, or this node did not get there in time.
pub(super) async fn fresh<C: Cluster>(
    cluster: &C,
    consistency: i32,
    min_index: u64,
) -> Result<LogIndex, Refusal> {
    let consistency = Consistency::try_from(consistency)
        .map_err(|_| Invalid::new("consistency", "not a consistency that this node knows"))?;
    let mut wanted = LogIndex(min_index);
    match consistency {
        Consistency::Unspecified | Consistency::Local => {}
        Consistency::Linearizable => wanted = wanted.max(cluster.read_index().await?),
    }
    if wanted > cluster.routes().applied_index() {
        cluster.wait_applied(wanted, READ_PATIENCE).await?;
    }
    Ok(cluster.routes().applied_index())
}

/// The cluster's id as answers carry it; empty before it is founded.
pub(super) fn cluster_id<C: Cluster>(cluster: &C) -> String {
    cluster.routes().cluster_id().map(|id| id.to_string()).unwrap_or_default()
}
