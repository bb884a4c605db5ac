//! Row 18: a node's disk is full. It says so and stops; nothing that was acknowledged is lost, and calls go on elsewhere.

use anyhow::ensure;
use futures::FutureExt;

use super::{Bite, Outcome, Row, row_01_follower_killed::failures};
use crate::{
    HEAL_PATIENCE, Lab,
    history::CallRecord,
    invariants::Violation,
    stage::{Ground, LoadPlan, Stage},
    wait_until,
};

/// The row.
pub(super) const ROW: Row = Row {
    number: 18,
    event: "disk full",
    ground: Ground::SmallDisk,
    bites_wanted: 20,
    targets: &[],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let (full, disk) = stage.small_disk()?;
    let others = stage.others(&full);
    let servers: Vec<_> = others.iter().map(|node| node.device_url()).collect();
    let load = stage.load(LoadPlan::new(others.clone(), stage.devices_not_on(&full.name))).await?;

    let filled_at = stage.journal.now();
    disk.fill()?;
    // Every attach is an entry of the log; the full node cannot keep them for long.
    let mut acknowledged = Vec::new();
    let status = wait_until("the full node stops", HEAL_PATIENCE, async || {
        let name = format!("after-{filled_at:?}-{}", acknowledged.len());
        Lab::new(&name, "records").attach(&servers).await?.shutdown().await;
        acknowledged.push(name);
        full.ended(std::time::Duration::from_millis(50)).await
    })
    .await?;
    let until = stage.journal.now();
    let said = full.output()?;
    disk.relieve()?;
    full.start()?;

    let mut violations = stage.judge(load).await;
    if status.success() || !said.contains("No space left") {
        let end: String = said.lines().rev().take(3).collect::<Vec<_>>().join(" / ");
        violations.push(Violation::of("it_says_why_it_stops", format!("{status}: {end}")));
    }
    for node in stage.cluster.running() {
        for name in &acknowledged {
            if let Err(error) = node.api()?.device(name).await {
                let what = format!("{} lacks {name}: {error:#}", node.name);
                violations.push(Violation::of("acknowledged_opens_kept", what));
            }
        }
    }
    let calls = stage.journal.calls();
    let during = |call: &&CallRecord| call.sent_at > filled_at && call.sent_at < until;
    let met: Vec<_> = calls.iter().filter(during).collect();
    violations.extend(failures(&met));
    ensure!(!acknowledged.is_empty(), "nothing was written to the full disk");
    let bite = Bite::when(met.len() >= 10, || format!("only {} calls met the fault", met.len()));
    Ok(Outcome::new(bite, violations))
}
