//! Row 20: the holder's host is lost without a word: no packet comes, and no reset. Devices notice by their heartbeats.

use std::time::Duration;

use anyhow::ensure;
use futures::FutureExt;

use super::{
    Bite, Most, Outcome, Row, Target,
    row_03_holder_killed::{AWAY, untyped},
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
    targets: &[Target { sample: "refused after", most: Most::Of(Duration::from_secs(1)) }],
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
    wait_until("the devices are back elsewhere", HEAL_PATIENCE, async || {
        let back = stage.back_after(&moving, lost_at).len();
        ensure!(back == moving.len(), "{back} of {}", moving.len());
        Ok(())
    })
    .await?;
    tokio::time::sleep(AWAY_FOR).await;
    stage.network()?.heal()?;

    let mut violations = stage.judge(load).await;
    violations.extend(untyped(&stage.journal.calls(), &moving, lost_at));
    let refused = stage.refused_after(&moving, lost_at, &AWAY);
    let bite = Bite::when(!refused.is_empty() && !moving.is_empty(), || "nobody called its devices".into());
    Ok(Outcome::new(bite, violations)
        .measured("refused after", refused)
        .measured("device back", stage.back_after(&moving, lost_at)))
}
