//! Row 25: a backup is restored into a new cluster while the old one lives. Neither hears of the other.

use std::time::Instant;

use anyhow::{Context, ensure};
use futures::FutureExt;

use super::{Bite, Outcome, Row};
use crate::{
    Cli, Cluster, ClusterPlan, FORM_PATIENCE, HEAL_PATIENCE, Lab, Node, SPREAD_PATIENCE,
    invariants::Violation,
    stage::{Ground, LoadPlan, Stage},
};

/// The row.
pub(super) const ROW: Row = Row {
    number: 25,
    event: "restore into a new cluster while the old one lives",
    grounds: &[Ground::Loopback],
    bites_wanted: 20,
    targets: &[],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let stranger = stage.follower().await?;
    let others = stage.others(&stranger);
    let all = stage.devices_not_on(&stranger.name);
    let load = stage.load(LoadPlan::new(others.clone(), all)).await?;
    let run = format!("{:?}", stage.journal.now());
    let folder = stage.cluster.scratch().folder(&format!("restored-{run}"))?;
    let since = Instant::now();
    let new = restored(&others[0], &folder).await?;
    let restored_after = since.elapsed();
    let founder = new.node("n1")?;

    let mut violations = Vec::new();
    let (old_id, new_id) =
        (others[0].api()?.cluster().await?.cluster_id, founder.api()?.cluster().await?.cluster_id);
    if old_id == new_id {
        violations.push(Violation::of("another_cluster_id", old_id));
    }
    // A node of the old cluster is sent to the new one with its folder.
    stranger.kill9()?;
    violations.extend(taken_in(&stranger, &founder).await?);
    stranger.start()?;
    stage.cluster.settled(HEAL_PATIENCE).await?;
    // A device of each cluster, under one name.
    let name = format!("both-{run}");
    let here = Lab::new(&name, "both").attach(&[others[0].device_url()]).await?;
    let there = Lab::new(&name, "both").attach(&[founder.device_url()]).await?;
    let ((_, old_epoch), (_, new_epoch)) =
        (here.attached(SPREAD_PATIENCE).await?, there.attached(SPREAD_PATIENCE).await?);
    if new_epoch <= old_epoch {
        let what = format!("the new cluster gives {new_epoch}, the old one {old_epoch}");
        violations.push(Violation::of("epochs_rise_over_a_restore", what));
    }
    stage.cluster.caught_up(SPREAD_PATIENCE).await?;
    for (node, epoch) in [(&others[0], old_epoch), (&others[1], old_epoch), (&founder, new_epoch)] {
        let answer = node.api()?.echo("both", &name).await?;
        if answer.epoch != epoch {
            let what = format!("through {}: {answer:?}, not epoch {epoch}", node.name);
            violations.push(Violation::of("no_cross_talk", what));
        }
    }
    tokio::join!(here.shutdown(), there.shutdown());
    new.finish().await?;
    violations.extend(stage.judge(load).await);
    Ok(Outcome::new(Bite::Bit, violations).measured("saved and restored", [restored_after]))
}

/// A cluster of one, from a backup that this node makes now.
async fn restored(from: &Node, folder: &std::path::Path) -> anyhow::Result<Cluster> {
    let cli = Cli::new().await?;
    let file = folder.join("registry.backup").display().to_string();
    let saved = cli.run(&["snapshot", "save", &file, "--addr", &from.api_url()]).await?;
    ensure!(saved.code == Some(0), "{saved:?}");
    let new = ClusterPlan::of(1).beside_another().prepare().await?;
    let founder = new.node("n1")?;
    let data_dir = founder.data_dir.display().to_string();
    let made = cli.run(&["snapshot", "restore", &file, "--data-dir", &data_dir, "--name", "n1"]).await?;
    ensure!(made.code == Some(0), "{made:?}");
    founder.start()?;
    new.settled(FORM_PATIENCE).await?;
    Ok(new)
}

/// A stopped node that is started to join another cluster with its folder must be refused, and change nothing there.
async fn taken_in(stranger: &Node, by: &Node) -> anyhow::Result<Option<Violation>> {
    let mut arguments: Vec<String> =
        stranger.arguments().iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    for (flag, value) in [("--join", by.peer_addr()), ("--bootstrap-expect", "0".to_owned())] {
        let at = arguments.iter().position(|argument| argument == flag).context("no such flag")?;
        arguments[at + 1] = value;
    }
    let ran = Cli::new().await?.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let nodes = by.api()?.nodes().await?;
    let refused = ran.code == Some(1) && nodes.len() == 1;
    Ok((!refused)
        .then(|| Violation::of("the_old_is_refused", format!("{ran:?}; the new one lists {nodes:?}"))))
}
