//! Row 3: the holder of called devices is killed. New calls to them fail fast and typed; the devices come back elsewhere,
//! with the answers of the calls that they ran.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use futures::{FutureExt, future::join_all};

use super::{
    Bite, Most, Outcome, Row, Target,
    refusals::{TARGETS, fresh_calls},
};
use crate::{
    HEAL_PATIENCE, Node,
    history::{CallRecord, Ending},
    invariants::Violation,
    stage::{Ground, LoadPlan, Stage, connect_pause},
    wait_until,
};

/// How long the calls take that are in flight when the holder is killed.
const NAP: Duration = Duration::from_millis(1_500);

/// The agent's first back-off, and what the row grants on top of it.
pub(super) const BACK: Duration = Duration::from_millis(2_200);

/// The row.
pub(super) const ROW: Row = Row {
    number: 3,
    event: "the holder killed (kill -9)",
    grounds: &[Ground::Loopback],
    bites_wanted: 20,
    targets: &[TARGETS[0], TARGETS[1], Target { sample: "device back", most: Most::Of(BACK) }],
    play: |stage| {
        async move {
            let victim = stage.follower().await?;
            kill_holder(stage, victim).await
        }
        .boxed_local()
    },
};

/// Kills a node that holds devices, and tells the story to its end.
pub(super) async fn kill_holder(stage: &mut Stage, victim: Arc<Node>) -> anyhow::Result<Outcome> {
    let lost: Vec<_> = stage.devices_on(&victim.name).iter().map(|device| device.device_id.clone()).collect();
    ensure!(!lost.is_empty(), "{} holds no device", victim.name);
    let all = stage.devices.iter().map(|device| device.device_id.clone()).collect();
    let through = stage.others(&victim);
    let load = stage.load(LoadPlan::new(through.clone(), all)).await?;
    let naps = stage.naps(&through[0], &lost, NAP).await?;

    let killed_at = stage.journal.now();
    let since = Instant::now();
    victim.kill9()?;
    let fresh = fresh_calls(stage, &through, &lost)?;
    let pause = connect_pause(&through[0], since, &format!("probe-{killed_at:?}")).await?;
    wait_until("the devices are back elsewhere", HEAL_PATIENCE, async || {
        let back = stage.back_after(&lost, killed_at).len();
        ensure!(back == lost.len(), "{back} of {}", lost.len());
        Ok(())
    })
    .await?;
    join_all(naps).await;
    fresh.ended().await;
    victim.start()?;

    let mut violations = stage.judge(load).await;
    let calls = stage.journal.calls();
    violations.extend(untyped(&calls, &lost, killed_at));
    violations.extend(without_replay(&calls, &lost, killed_at));
    let in_flight = |call: &&CallRecord| {
        call.sent_at < killed_at
            && call.ended.as_ref().is_some_and(|(at, _)| *at > killed_at)
            && lost.contains(&call.device_id)
    };
    let bitten = calls.iter().filter(in_flight).count();
    let bite = Bite::when(bitten >= lost.len(), || format!("{bitten} calls were in flight"));
    Ok(Outcome::new(bite, violations)
        .measured("connect pause", [pause])
        .refusals(&calls, &through, &lost, killed_at)
        .measured("device back", stage.back_after(&lost, killed_at)))
}

/// What ran when its holder was killed is answered by its device, which comes back within the window.
fn without_replay(calls: &[CallRecord], devices: &[String], since: Duration) -> Vec<Violation> {
    let ran =
        calls.iter().filter(|call| call.request_id.starts_with("nap-") && devices.contains(&call.device_id));
    let ran = ran.filter(|call| call.ended.as_ref().is_none_or(|(at, _)| *at > since));
    ran.filter(|call| !matches!(call.ending(), Some(Ending::Answered { .. })))
        .map(|call| Violation::of("answers_outlive_their_holder", format!("{call:?}")))
        .collect()
}

/// Calls through nodes that live must end with an answer or with the gateway's own word.
pub(super) fn untyped(calls: &[CallRecord], devices: &[String], since: Duration) -> Vec<Violation> {
    let met = calls.iter().filter(|call| devices.contains(&call.device_id));
    let met = met.filter(|call| call.ended.as_ref().is_some_and(|(at, _)| *at > since));
    met.filter(|call| matches!(call.ending(), Some(Ending::Lost { .. })))
        .map(|call| Violation::of("failures_are_typed", format!("{call:?}")))
        .collect()
}
