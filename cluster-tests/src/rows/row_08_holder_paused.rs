//! Row 8: the holder's time stops for longer than its lease, with calls in flight, and goes on again. The devices are
//! elsewhere by then; what it still has for them is refused.

use std::time::Duration;

use anyhow::ensure;
use futures::{FutureExt, future::join_all};
use rollcall_proto::api::NodeState;

use super::{
    Bite, Outcome, Row,
    refusals::{TARGETS, fresh_calls},
};
use crate::{
    HEAL_PATIENCE,
    history::CallRecord,
    invariants::Violation,
    stage::{Ground, LoadPlan, Stage},
    wait_until,
};

const NAP: Duration = Duration::from_millis(1_000);
/// How long the sleeper is watched after it woke: it registers again and re-announces.
const AWAKE: Duration = Duration::from_secs(2);

/// The row.
pub(super) const ROW: Row = Row {
    number: 8,
    event: "the holder paused beyond its lease, then resumed",
    grounds: &[Ground::Loopback, Ground::Fenced],
    bites_wanted: 20,
    targets: &TARGETS,
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let sleeper = stage.follower().await?;
    let moving: Vec<_> =
        stage.devices_on(&sleeper.name).iter().map(|device| device.device_id.clone()).collect();
    let all = stage.devices.iter().map(|device| device.device_id.clone()).collect();
    let through = stage.others(&sleeper);
    let load = stage.load(LoadPlan::new(through.clone(), all)).await?;
    let naps = stage.naps(&through[0], &moving, NAP).await?;

    let paused_at = stage.journal.now();
    sleeper.pause()?;
    let fresh = fresh_calls(stage, &through, &moving)?;
    wait_until("its lease has lapsed and its devices are elsewhere", HEAL_PATIENCE, async || {
        let nodes = through[0].api()?.nodes().await?;
        let seen = nodes.iter().find(|node| node.name == sleeper.name).map(|node| node.state());
        ensure!(seen == Some(NodeState::Down), "{} is {seen:?}", sleeper.name);
        let back = stage.back_after(&moving, paused_at).len();
        ensure!(back == moving.len(), "{back} of {}", moving.len());
        Ok(())
    })
    .await?;
    let woke_at = stage.journal.now();
    sleeper.resume()?;
    tokio::time::sleep(AWAKE).await;
    join_all(naps).await;
    fresh.ended().await;

    let mut violations = stage.judge(load).await;
    // Nobody had a reason to move again.
    let stolen = moving.iter().filter(|device| !stage.back_after(&[(*device).clone()], woke_at).is_empty());
    violations.extend(stolen.map(|device| {
        Violation::of(
            "no_session_is_stolen",
            format!("{device} had to open again after {} woke", sleeper.name),
        )
    }));
    let calls = stage.journal.calls();
    let ended_later = |call: &CallRecord| call.ended.as_ref().is_some_and(|(at, _)| *at > paused_at);
    let caught = calls.iter().filter(|call| moving.contains(&call.device_id) && call.sent_at < paused_at);
    let caught = caught.filter(|call| ended_later(call)).count();
    let bite = Bite::when(caught > 0, || format!("{} had no call in flight", sleeper.name));
    Ok(Outcome::new(bite, violations)
        .refusals(&calls, &through, &moving, paused_at)
        .measured("device back", stage.back_after(&moving, paused_at)))
}
