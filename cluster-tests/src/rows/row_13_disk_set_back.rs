//! Row 13: a voter is restarted from an old copy of its disk. It is found out, and no acknowledged change is lost.

use std::time::Instant;

use anyhow::ensure;
use futures::FutureExt;

use super::{
    Bite, Outcome, Row,
    row_12_disk_lost::{refused, replace},
};
use crate::{
    HEAL_PATIENCE, Lab, SPREAD_PATIENCE,
    invariants::Violation,
    stage::{Ground, LoadPlan, Stage},
};

/// Changes that the copy lacks.
const CHANGES: usize = 10;

/// The row.
pub(super) const ROW: Row = Row {
    number: 13,
    event: "a voter restarted from an old copy of its disk",
    grounds: &[Ground::Loopback],
    bites_wanted: 5,
    targets: &[],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let set_back = stage.follower().await?;
    let others = stage.others(&set_back);
    let copy = stage.cluster.scratch().folder("copies")?.join(format!("{:?}", stage.journal.now()));
    set_back.pause()?;
    set_back.copy_disk(&copy)?;
    set_back.resume()?;
    stage.cluster.settled(HEAL_PATIENCE).await?;
    stage.cluster.caught_up(SPREAD_PATIENCE).await?;
    let before = set_back.api()?.cluster().await?.applied_index;
    let load = stage.load(LoadPlan::new(others.clone(), stage.devices_not_on(&set_back.name))).await?;
    let mut acknowledged = Vec::new();
    for number in 0..CHANGES {
        let name = format!("acknowledged-{before}-{number}");
        Lab::new(&name, "records").attach(&[others[0].device_url()]).await?.shutdown().await;
        acknowledged.push(name);
    }
    stage.cluster.caught_up(SPREAD_PATIENCE).await?;
    let after = set_back.api()?.cluster().await?.applied_index;
    ensure!(after > before, "nothing was written after the copy");

    set_back.kill9()?;
    set_back.set_disk_back(&copy)?;
    set_back.start()?;
    let refused = refused(&set_back, "set back").await;
    let since = Instant::now();
    replace(&set_back, &others[0]).await?;
    let replaced = since.elapsed();
    let mut violations = stage.judge(load).await;
    for node in stage.cluster.running() {
        for name in &acknowledged {
            if let Err(error) = node.api()?.device(name).await {
                let what = format!("{} lacks {name}: {error:#}", node.name);
                violations.push(Violation::of("acknowledged_opens_kept", what));
            }
        }
    }
    violations.extend(refused);
    Ok(Outcome::new(Bite::Bit, violations).measured("replaced", [replaced]))
}
