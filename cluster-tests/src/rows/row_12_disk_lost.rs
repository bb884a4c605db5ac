//! Row 12: a voter's disk is lost. It is refused under its old id and says what to do; one command, and it is replaced.

use std::{sync::Arc, time::Instant};

use anyhow::ensure;
use futures::FutureExt;
use rollcall_proto::api::NodeRole;

use super::{Bite, Outcome, Row};
use crate::{
    Cli, HEAL_PATIENCE, Node,
    invariants::Violation,
    stage::{Ground, LoadPlan, Stage},
    wait_until,
};

/// The row.
pub(super) const ROW: Row = Row {
    number: 12,
    event: "a voter's disk lost",
    grounds: &[Ground::Loopback],
    bites_wanted: 5,
    targets: &[],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let lost = stage.follower().await?;
    let through = stage.others(&lost);
    let load = stage.load(LoadPlan::new(through.clone(), stage.devices_not_on(&lost.name))).await?;
    lost.kill9()?;
    lost.wipe()?;
    lost.start()?;
    let refused = refused(&lost, "").await;
    let since = Instant::now();
    replace(&lost, &through[0]).await?;
    let replaced = since.elapsed();
    let violations = stage.judge(load).await.into_iter().chain(refused).collect();
    Ok(Outcome::new(Bite::Bit, violations).measured("replaced", [replaced]))
}

/// A node whose disk is not the one it voted with must stop by itself, and name the command that replaces it.
pub(super) async fn refused(node: &Node, why: &str) -> Option<Violation> {
    let wrong = async {
        let status = node.ended(HEAL_PATIENCE).await?;
        let said = node.output()?;
        let runbook = format!("rollcall nodes remove {}", node.name);
        ensure!(
            status.code() == Some(1) && said.contains(&runbook) && said.contains(why),
            "{status}:\n{said}"
        );
        Ok(())
    };
    let wrong: anyhow::Result<()> = wrong.await;
    wrong.err().map(|error| Violation::of("a_lost_disk_is_refused", format!("{error:#}")))
}

/// The runbook: remove it, start it with an empty folder, and it votes again under another id.
pub(super) async fn replace(node: &Arc<Node>, by: &Node) -> anyhow::Result<()> {
    let url = by.api_url();
    let ran = Cli::new().await?.run(&["nodes", "remove", &node.name, "--addr", &url]).await?;
    ensure!(ran.code == Some(0), "{ran:?}");
    node.wipe()?;
    node.start()?;
    wait_until(&format!("{} votes again", node.name), HEAL_PATIENCE, async || {
        let nodes = by.api()?.nodes().await?;
        let votes = nodes.iter().any(|seen| seen.name == node.name && seen.role() == NodeRole::Voter);
        ensure!(votes, "{nodes:?}");
        Ok(())
    })
    .await
}
