//! Row 24: nodes are upgraded and set back again under load, while others still are of the version before. Nobody notices;
//! the feature level, after which there is no way back, stays where it is. A node that takes part in no newer level stands
//! for one of the version before.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures::FutureExt;
use rand::{Rng, seq::SliceRandom};
use rollcall_registry::model::feature_level::FeatureLevel;

use super::{
    Bite, Outcome, Row,
    row_10_rolling_restart::{MET, met},
};
use crate::{
    HEAL_PATIENCE, Node,
    history::{CallRecord, Ending},
    invariants::Violation,
    stage::{Ground, LEVEL_BEFORE, LoadPlan, Stage, connect_pause},
    wait_until,
};

/// The row.
pub(super) const ROW: Row = Row {
    number: 24,
    event: "N and N-1 mixed, upgrade and rollback before the switch",
    grounds: &[Ground::VersionBefore],
    bites_wanted: 20,
    targets: &[],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let mut nodes = stage.cluster.running();
    nodes.shuffle(&mut stage.rng);
    // One stays as it was, or the level would rise.
    let upgraded = nodes[..stage.rng.random_range(1..nodes.len())].to_vec();
    wait_until("the level of the version before is reached", HEAL_PATIENCE, async || {
        let level = level(&nodes[0]).await?;
        ensure!(level == LEVEL_BEFORE, "it is {level}");
        Ok(())
    })
    .await?;
    let all = stage.devices.iter().map(|device| device.device_id.clone()).collect();
    let load = stage.load(LoadPlan::new(nodes.clone(), all).by_clients()).await?;

    let from = stage.journal.now();
    let (mut took, mut violations) = (Vec::new(), Vec::new());
    for node in &upgraded {
        took.push(restart(stage, node, &[], &mut violations).await?);
    }
    mixed(&nodes, &upgraded).await?;
    let mut connects = Vec::new();
    for node in &nodes {
        connects.push(connect_pause(node, Instant::now(), &format!("probe-{from:?}-{}", node.name)).await?);
    }
    for node in &upgraded {
        took.push(restart(stage, node, stage.ground().flags_at_start(), &mut violations).await?);
    }
    let until = stage.journal.now();

    violations.extend(stage.judge(load).await);
    for node in &nodes {
        let now = level(node).await?;
        if now != LEVEL_BEFORE {
            let what = format!("{} sees level {now}, which was {LEVEL_BEFORE}", node.name);
            violations.push(Violation::of("the_level_waits_for_all", what));
        }
    }
    let calls = stage.journal.calls();
    let (repeatable, once) = met(&calls, from, until);
    let failed = |call: &&&CallRecord| !call.ending().is_some_and(Ending::is_answer);
    let lost = repeatable.iter().filter(failed);
    violations.extend(lost.map(|call| Violation::of("no_idempotent_call_fails", format!("{call:?}"))));
    let bite = Bite::when(repeatable.len() >= MET && once.len() >= MET, || {
        format!("{} idempotent calls met it, {} others", repeatable.len(), once.len())
    });
    let failed = once.iter().filter(failed).count();
    Ok(Outcome::new(bite, violations)
        .measured("one node's restart", took)
        .measured("connect while mixed", connects)
        .counted("failed that may run once", failed, once.len()))
}

/// The cluster's feature level, as a node sees it.
async fn level(node: &Node) -> anyhow::Result<u32> {
    Ok(node.api()?.cluster().await?.feature_level)
}

/// Stops a node and starts it with these flags; how long the cluster took to be as before.
async fn restart(
    stage: &Stage,
    node: &Node,
    flags: &[&str],
    violations: &mut Vec<Violation>,
) -> anyhow::Result<Duration> {
    let since = Instant::now();
    let status = node.stop().await?;
    if !status.success() {
        violations.push(Violation::of("it_exits_cleanly", format!("{}: {status}", node.name)));
    }
    node.start_with(flags)?;
    stage.cluster.settled(HEAL_PATIENCE).await?;
    Ok(since.elapsed())
}

/// Waits until every node knows that just the upgraded ones could take part in the newest level.
async fn mixed(nodes: &[Arc<Node>], upgraded: &[Arc<Node>]) -> anyhow::Result<()> {
    wait_until("every node sees two versions", HEAL_PATIENCE, async || {
        for by in nodes {
            let seen = by.api()?.nodes().await?;
            for node in nodes {
                let known = seen.iter().find(|seen| seen.name == node.name).context("a node is missing")?;
                let newest = known.feature_level == FeatureLevel::NEWEST.0;
                let is_upgraded = upgraded.iter().any(|upgraded| upgraded.name == node.name);
                ensure!(newest == is_upgraded, "{} sees {known:?}", by.name);
            }
        }
        Ok(())
    })
    .await
}
