//! What a leader does on the side: writes the first command of a new cluster, promotes learners, keeps house.

use std::sync::Arc;

use tokio::time::MissedTickBehavior;

use super::{consensus::Consensus, housekeeping::Housekeeping};
use crate::{limits::CHORES_EVERY, membership::folder::Folder, model::command::Command, routes::Routes};

/// Runs until Raft stops.
pub(super) async fn run(consensus: Consensus, routes: Routes, folder: Arc<Folder>) {
    let mut ticks = tokio::time::interval(CHORES_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut housekeeping = Housekeeping::default();
    while consensus.metrics().running_state.is_ok() {
        ticks.tick().await;
        if !consensus.leads_with_quorum() {
            continue;
        }
        if routes.cluster_id().is_none() {
            found(&consensus, &folder).await;
        } else {
            promote(&consensus).await;
            housekeeping.tick(&consensus, &routes).await;
        }
    }
}

async fn found(consensus: &Consensus, folder: &Folder) {
    let Some(founding) = folder.founding() else {
        return;
    };
    match consensus.write(Arc::new(Command::FoundCluster(founding.cluster))).await {
        Ok((index, response)) => tracing::info!(%index, %response, "the cluster is founded"),
        Err(error) => tracing::debug!(%error, "the cluster is not founded yet"),
    }
}

async fn promote(consensus: &Consensus) {
    match consensus.promote().await {
        Ok(Some(node)) => tracing::info!(%node, "promoted to voter"),
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "a learner was not promoted"),
    }
}
