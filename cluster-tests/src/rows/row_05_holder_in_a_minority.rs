//! Row 5: the holder is cut off from the other nodes and from its devices. The majority accepts the devices again under
//! higher epochs; whatever was routed to the old ones is refused.

use std::time::Duration;

use anyhow::ensure;
use futures::FutureExt;

use super::{
    Bite, Outcome, Row,
    refusals::{TARGETS, fresh_calls},
    row_03_holder_killed::untyped,
};
use crate::{
    HEAL_PATIENCE, Loss,
    history::{CallRecord, Ending},
    stage::{Ground, LoadPlan, Stage},
    wait_until,
};

/// How long both sides go on after the devices have moved: beyond the lease of the node that was cut off.
const APART: Duration = Duration::from_secs(3);

/// The row.
pub(super) const ROW: Row = Row {
    number: 5,
    event: "the holder in a minority partition",
    grounds: &[Ground::OwnNetwork, Ground::OwnNetworkFenced],
    bites_wanted: 20,
    targets: &TARGETS,
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let minority = stage.follower().await?;
    let moving: Vec<_> =
        stage.devices_on(&minority.name).iter().map(|device| device.device_id.clone()).collect();
    let all: Vec<_> = stage.devices.iter().map(|device| device.device_id.clone()).collect();
    let majority = stage.others(&minority);
    // Callers at all nodes: the one that is cut off is still reached by its own.
    let load = stage.load(LoadPlan::new(stage.cluster.running(), all)).await?;

    let cut_at = stage.journal.now();
    let here = [minority.addresses.host];
    stage.network()?.part(&here, &Stage::addresses(&majority))?;
    stage.network()?.lose(Loss::Port(minority.addresses.host, minority.addresses.device))?;
    // It takes as long as its commands do.
    let silent_at = stage.journal.now();
    // Through the majority alone: the minority may go on to try its own devices.
    let fresh = fresh_calls(stage, &majority, &moving)?;
    wait_until("the devices are back at the majority", HEAL_PATIENCE, async || {
        let back = stage.back_after(&moving, cut_at).len();
        ensure!(back == moving.len(), "{back} of {}", moving.len());
        Ok(())
    })
    .await?;
    let moved_at = stage.journal.now();
    tokio::time::sleep(APART).await;
    fresh.ended().await;
    stage.network()?.heal()?;

    let violations = stage.judge(load).await;
    let calls = stage.journal.calls();
    let met = |call: &&CallRecord| call.sent_at > moved_at && moving.contains(&call.device_id);
    let by_minority = calls.iter().filter(met).filter(|call| call.through == minority.name).count();
    let answered =
        calls.iter().filter(met).filter(|call| call.ending().is_some_and(Ending::is_answer)).count();
    let bite = Bite::when(by_minority > 0 && answered > 0, || {
        format!("{by_minority} calls by the minority, {answered} answered after the move")
    });
    let typed = untyped(&calls, &moving, cut_at);
    Ok(Outcome::new(bite, [violations, typed].concat())
        .refusals(&calls, &majority, &moving, silent_at)
        .measured("device back", stage.back_after(&moving, cut_at)))
}
