//! Row 20: the holder's host is lost without a word: no packet comes, and no reset. Devices notice by their heartbeats.

use std::time::Duration;

use anyhow::ensure;
use futures::FutureExt;

use super::{
    Bite, Outcome, Row,
    refusals::{TARGETS, fresh_calls},
    row_03_holder_killed::untyped,
};
use crate::{
    HEAL_PATIENCE,
    stage::{Ground, LoadPlan, Stage},
    wait_until,
};

/// How long the host stays away after its devices have moved.
const AWAY_FOR: Duration = Duration::from_secs(1);

/// The row.
pub(super) const ROW: Row = Row {
    number: 20,
    event: "the holder's host lost without RST (packets dropped)",
    grounds: &[Ground::OwnNetwork],
    bites_wanted: 20,
    targets: &TARGETS,
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let lost = stage.follower().await?;
    let moving: Vec<_> = stage.devices_on(&lost.name).iter().map(|device| device.device_id.clone()).collect();
    let all = stage.devices.iter().map(|device| device.device_id.clone()).collect();
    let others = stage.others(&lost);
    let load = stage.load(LoadPlan::new(others.clone(), all)).await?;

    let lost_at = stage.journal.now();
    let mut everybody = Stage::addresses(&others);
    everybody.push(stage.network()?.gateway());
    stage.network()?.part(&[lost.addresses.host], &everybody)?;
    // It takes as long as its commands do.
    let silent_at = stage.journal.now();
    let fresh = fresh_calls(stage, &others, &moving)?;
    wait_until("the devices are back elsewhere", HEAL_PATIENCE, async || {
        let back = stage.back_after(&moving, lost_at).len();
        ensure!(back == moving.len(), "{back} of {}", moving.len());
        Ok(())
    })
    .await?;
    tokio::time::sleep(AWAY_FOR).await;
    fresh.ended().await;
    stage.network()?.heal()?;

    let mut violations = stage.judge(load).await;
    let calls = stage.journal.calls();
    violations.extend(untyped(&calls, &moving, lost_at));
    let met = calls.iter().filter(|call| call.sent_at > lost_at && moving.contains(&call.device_id)).count();
    let bite = Bite::when(met > 0, || "nobody called its devices".into());
    Ok(Outcome::new(bite, violations)
        .refusals(&calls, &others, &moving, silent_at)
        .measured("device back", stage.back_after(&moving, lost_at)))
}
