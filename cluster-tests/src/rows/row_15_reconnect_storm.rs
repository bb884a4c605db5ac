//! Row 15: all devices of one node lose their connections at once and come back together. Calls on sessions that stay
//! open go on; nobody elects, nobody loses a lease.

use std::time::Duration;

use anyhow::{bail, ensure};
use futures::{FutureExt, future::try_join_all};

use super::{Bite, Most, Outcome, Row, Target, row_01_follower_killed::failures};
use crate::{
    HEAL_PATIENCE, Lab, Pass, Proxy,
    history::CallRecord,
    invariants::Violation,
    stage::{Ground, LoadPlan, Stage},
    wait_until,
};

/// Devices that come back together: a storm for a debug build on two cores, and few enough to begin often.
const STORM: usize = 150;
const CALM: Duration = Duration::from_secs(2);

/// The row.
pub(super) const ROW: Row = Row {
    number: 15,
    event: "reconnect storm: all devices of one node at once",
    ground: Ground::Loopback,
    bites_wanted: 20,
    targets: &[Target { sample: "call in storm", most: Most::Times(2, "call in calm") }],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let target = stage.follower().await?;
    let proxy = Proxy::before(Stage::device_socket(&target).into()).await?;
    let run = stage.journal.now();
    let attaching = (0..STORM).map(|number| {
        let lab = Lab::new(&format!("storm-{run:?}-{number}"), "storm");
        let server = proxy.url();
        async move { lab.attach(&[server]).await }
    });
    let storm = try_join_all(attaching).await?;
    let mut epochs = Vec::new();
    for device in &storm {
        epochs.push(device.attached(HEAL_PATIENCE).await?.1);
    }
    let all = stage.devices.iter().map(|device| device.device_id.clone()).collect();
    let leader = stage.cluster.leader(HEAL_PATIENCE).await?;
    let before = leader.api()?.cluster().await?;
    let incarnations = incarnations(stage).await?;
    let load = stage.load(LoadPlan::new(stage.cluster.running(), all)).await?;
    let calm_from = stage.journal.now();
    tokio::time::sleep(CALM).await;

    let cut_at = stage.journal.now();
    proxy.set(Pass::Cut);
    wait_until("all have lost their connection", HEAL_PATIENCE, async || {
        let left = storm.iter().filter(|device| device.state().is_attached()).count();
        ensure!(left == 0, "{left} are still attached");
        Ok(())
    })
    .await?;
    proxy.set(Pass::Freely);
    let open_at = stage.journal.now();
    wait_until("all are back", 3 * HEAL_PATIENCE, async || {
        let back = storm.iter().filter(|device| device.state().is_attached()).count();
        ensure!(back == STORM, "{back} of {STORM}");
        Ok(())
    })
    .await?;
    let back_at = stage.journal.now();

    let mut violations = Vec::new();
    let after = leader.api()?.cluster().await?;
    if (after.term, &after.leader) != (before.term, &before.leader) {
        violations.push(Violation::of("no_election", format!("{after:?} after {before:?}")));
    }
    let now = self::incarnations(stage).await?;
    if now != incarnations {
        violations.push(Violation::of("no_lease_is_lost", format!("{now:?} after {incarnations:?}")));
    }
    futures::future::join_all(storm.into_iter().map(crate::LabDevice::shutdown)).await;
    violations.extend(stage.judge(load).await);
    let calls = stage.journal.calls();
    let within = |from: Duration, to: Duration| {
        calls
            .iter()
            .filter(move |call| call.sent_at > from && call.sent_at < to && call.is_quick())
            .collect::<Vec<_>>()
    };
    let (calm, stormy) = (within(calm_from, cut_at), within(cut_at, back_at));
    violations.extend(failures(&stormy));
    if calm.is_empty() {
        bail!("no calls before the storm");
    }
    let bite = Bite::when(stormy.len() >= 20, || format!("{} calls met the storm", stormy.len()));
    let took = |calls: Vec<&CallRecord>| calls.into_iter().filter_map(CallRecord::took).collect::<Vec<_>>();
    Ok(Outcome::new(bite, violations)
        .measured("all back", [back_at.saturating_sub(open_at)])
        .measured("call in calm", took(calm))
        .measured("call in storm", took(stormy)))
}

/// The starts of all nodes: another one tells of a lease that was lost.
async fn incarnations(stage: &Stage) -> anyhow::Result<Vec<(String, u64)>> {
    let leader = stage.cluster.leader(HEAL_PATIENCE).await?;
    let nodes = leader.api()?.nodes().await?;
    Ok(nodes.into_iter().map(|node| (node.name, node.incarnation)).collect())
}
