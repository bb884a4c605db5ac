//! `rebalance = auto`: a node whose cluster is calm again gives away what it has more than its share.

use rollcall_registry::{
    model::ids::{Incarnation, NodeId},
    routes::view::NodeView,
};
use rollcall_router::Router;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::{cluster::Cluster, limits::BALANCE_LOOK};

/// Gives devices away, again and again, so many a second.
pub(super) async fn keep_even<C: Cluster>(cluster: C, router: Router<C>, per_second: u32) {
    let mut calm = Calm::default();
    let mut looks = interval(BALANCE_LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if !calm.since_the_last_look(cluster.routes().nodes().iter().map(|node| &**node)) {
            continue;
        }
        let held = router.balance().held;
        let asked = router.rebalance(per_second);
        if asked.devices > 0 {
            tracing::info!(
                held,
                asked = asked.devices,
                over_s = asked.over.as_secs_f64(),
                "gives devices away"
            );
            sleep(asked.over).await;
        }
    }
}

/// Whether nodes come and go. While they do, devices move anyway, and shares change before anybody has arrived.
#[derive(Debug, Default)]
struct Calm {
    seen: Vec<(NodeId, Incarnation, bool, bool)>,
}

impl Calm {
    /// Whether all nodes are as they were when this was asked last.
    fn since_the_last_look<'a>(&mut self, nodes: impl Iterator<Item = &'a NodeView>) -> bool {
        let now: Vec<_> = nodes.map(|node| (node.id, node.incarnation, node.up, node.draining)).collect();
        let calm = now == self.seen;
        self.seen = now;
        calm
    }
}
