//! Row 18: a node's disk is full, then another's fails. Each says so and stops; nothing that was acknowledged is lost, and
//! calls go on elsewhere.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::FutureExt;
use rand::seq::IndexedRandom;
use rollcall_registry::faults::Switch;

use super::{Bite, Outcome, Row, row_01_follower_killed::failures};
use crate::{
    HEAL_PATIENCE, Lab, Node,
    history::CallRecord,
    invariants::Violation,
    stage::{Ground, LoadPlan, Stage},
    wait_until,
};

/// The row.
pub(super) const ROW: Row = Row {
    number: 18,
    event: "disk full, EIO",
    grounds: &[Ground::SmallDisk],
    bites_wanted: 20,
    targets: &[],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let full = stage.small_disk()?.0;
    let others = stage.others(&full);
    let failing = others.choose(&mut stage.rng).context("it runs alone")?.clone();
    let well = others.iter().find(|node| node.name != failing.name).context("there are two nodes")?.clone();
    let own = stage.devices_on(&well.name).iter().map(|device| device.device_id.clone()).collect();
    let load = stage.load(LoadPlan::new(vec![well.clone()], own)).await?;
    let mut violations = Vec::new();

    let from = stage.journal.now();
    let (_, disk) = stage.small_disk()?;
    disk.fill()?;
    let (mut acknowledged, stopped_full) =
        stops(stage, &full, &well, "No space left", &mut violations).await?;
    disk.relieve()?;
    full.start()?;
    stage.cluster.settled(HEAL_PATIENCE).await?;

    failing.switch(&[Switch::SyncsFail]).await?;
    let (more, stopped_failing) =
        stops(stage, &failing, &well, "Input/output error", &mut violations).await?;
    acknowledged.extend(more);
    failing.switch(&[]).await?;
    let until = stage.journal.now();
    failing.start()?;

    violations.extend(stage.judge(load).await);
    for node in stage.cluster.running() {
        for name in &acknowledged {
            if let Err(error) = node.api()?.device(name).await {
                let what = format!("{} lacks {name}: {error:#}", node.name);
                violations.push(Violation::of("acknowledged_opens_kept", what));
            }
        }
    }
    let calls = stage.journal.calls();
    let during = |call: &&CallRecord| call.sent_at > from && call.sent_at < until;
    let met: Vec<_> = calls.iter().filter(during).collect();
    violations.extend(failures(&met));
    ensure!(!acknowledged.is_empty(), "nothing was written to the disks that fail");
    let bite = Bite::when(met.len() >= 10, || format!("only {} calls met the fault", met.len()));
    Ok(Outcome::new(bite, violations)
        .measured("full disk: stopped after", [stopped_full])
        .measured("EIO: stopped after", [stopped_failing]))
}

/// Attaches devices until the node whose disk fails has stopped: their names, and how long that took. Every attach is an
/// entry of the log, and the node cannot keep them for long.
async fn stops(
    stage: &Stage,
    node: &Node,
    well: &Node,
    words: &str,
    violations: &mut Vec<Violation>,
) -> anyhow::Result<(Vec<String>, Duration)> {
    let since = Instant::now();
    let (begun, mut acknowledged) = (stage.journal.now(), Vec::new());
    let status = wait_until("the node whose disk fails stops", HEAL_PATIENCE, async || {
        let name = format!("after-{begun:?}-{}", acknowledged.len());
        let device = Lab::new(&name, "records").start(&[well.device_url()]);
        let attached = device.attached(HEAL_PATIENCE).await;
        device.shutdown().await;
        attached?;
        acknowledged.push(name);
        node.ended(Duration::from_millis(50)).await
    })
    .await?;
    let stopped = since.elapsed();
    let said = node.output()?;
    if status.success() || !said.contains(words) {
        let end: String = said.lines().rev().take(3).collect::<Vec<_>>().join(" / ");
        violations.push(Violation::of("it_says_why_it_stops", format!("{status}: {end}")));
    }
    Ok((acknowledged, stopped))
}
