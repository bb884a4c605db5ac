//! `RebalanceNode`: what this node has more than its share is asked to move.

use rollcall_proto::api::{RebalanceNodeRequest, RebalanceNodeResponse};
use rollcall_router::{Departing, Router};

use crate::cluster::Cluster;

/// Asks devices to move, or only counts them.
pub(super) fn rebalance<C: Cluster>(
    cluster: &C,
    router: &Router<C>,
    request: &RebalanceNodeRequest,
) -> RebalanceNodeResponse {
    let balance = router.balance();
    let per_second = if request.per_second == 0 { u32::MAX } else { request.per_second };
    let asked = if request.dry_run { Departing::default() } else { router.rebalance(per_second) };
    if asked.devices > 0 {
        tracing::info!(
            held = balance.held,
            share = balance.share,
            asked = asked.devices,
            over_s = asked.over.as_secs_f64(),
            "an operator asked devices to move to other nodes"
        );
    }
    RebalanceNodeResponse {
        node: cluster.status().name,
        sessions: balance.held,
        share: balance.share,
        surplus: balance.surplus(),
        asked: asked.devices as u64,
        over: asked.over.try_into().ok(),
    }
}
