//! What a leader does on the side: writes the first command of a new cluster, promotes learners, finishes what was begun, raises
//! the feature level, keeps house.

use std::{sync::Arc, time::Duration};

use tokio::time::MissedTickBehavior;

use super::{consensus::Consensus, housekeeping::Housekeeping, operator::Operator};
use crate::{
    limits::CHORES_EVERY,
    membership::{folder::Folder, level, promotion::Promotions, reaping::Reaping},
    model::{command::Command, response::Response},
    routes::Routes,
};

/// Runs until Raft stops.
pub(super) async fn run(
    consensus: Consensus,
    routes: Routes,
    folder: Arc<Folder>,
    operator: Operator,
    learner_ttl: Duration,
) {
    let (mut promotions, mut reaping) = (Promotions::default(), Reaping::default());
    let mut ticks = tokio::time::interval(CHORES_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut housekeeping = Housekeeping::default();
    while consensus.metrics().running_state.is_ok() {
        ticks.tick().await;
        if !consensus.leads_with_quorum() {
            promotions.clear();
            reaping.clear();
        } else if routes.cluster_id().is_none() {
            found(&consensus, &folder).await;
        } else {
            tend(&operator, &mut promotions).await;
            reap(&operator, &mut reaping, learner_ttl).await;
            raise_level(&consensus, &routes).await;
            housekeeping.tick(&consensus, &routes).await;
        }
    }
}

async fn found(consensus: &Consensus, folder: &Folder) {
    let Some(founding) = folder.founding() else {
        return;
    };
    match consensus.write(Command::FoundCluster(founding.cluster)).await {
        Ok((index, response)) => tracing::info!(%index, %response, "the cluster is founded"),
        Err(error) => tracing::debug!(%error, "the cluster is not founded yet"),
    }
}

async fn raise_level(consensus: &Consensus, routes: &Routes) {
    let Some(raise) = level::raise(routes.feature_level(), &routes.nodes()) else {
        return;
    };
    let level = raise.level;
    match consensus.write(Command::RaiseLevel(raise)).await {
        Ok((index, Response::Done)) => tracing::info!(%index, %level, "the feature level is raised"),
        Ok((_, response)) => tracing::debug!(%response, "the feature level is not raised yet"),
        Err(error) => tracing::debug!(%error, "the feature level is not raised yet"),
    }
}

async fn tend(operator: &Operator, promotions: &mut Promotions) {
    match operator.promote_next(promotions).await {
        Ok(Some(node)) => tracing::info!(%node, "promoted to voter"),
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "a learner was not promoted"),
    }
    if let Err(error) = operator.finish().await {
        tracing::debug!(%error, "nothing that was begun was finished");
    }
}

async fn reap(operator: &Operator, reaping: &mut Reaping, learner_ttl: Duration) {
    match operator.reap_next(reaping, learner_ttl).await {
        Ok(Some(node)) => {
            tracing::info!(%node, ttl_s = learner_ttl.as_secs(), "removed a learner that was down for too long")
        }
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "a learner that is gone was not removed"),
    }
}
