//! Row 15: all devices of one node lose their connections at once and come back together. Calls on sessions that stay
//! open go on; nobody elects, nobody loses a lease.

use std::time::Duration;

use anyhow::{bail, ensure};
use futures::FutureExt;

use super::{Bite, Most, Outcome, Row, Target, row_01_follower_killed::failures};
use crate::{
    HEAL_PATIENCE, Lab, LabDevice, Pass, Proxy,
    history::CallRecord,
    invariants::Violation,
    stage::{Ground, LoadPlan, Stage},
    wait_until,
};

/// Devices that come back together: more than the node admits in a second, and few enough to begin often.
const STORM: usize = 150;
/// At 100 a second, with two seconds for the loss to be noticed and the last one's turn.
const BACK: Duration = Duration::from_millis(3_500);
const CALM: Duration = Duration::from_secs(2);
/// Calls that a storm has to meet to say anything of them. The devices may be back before so many are sent: then they
/// are cut off again.
const CALLS_WANTED: usize = 20;
const MOST_WAVES: usize = 10;

/// The row.
pub(super) const ROW: Row = Row {
    number: 15,
    event: "reconnect storm: all devices of one node at once",
    grounds: &[Ground::Admitting],
    bites_wanted: 20,
    targets: &[
        Target { sample: "all back", most: Most::Of(BACK) },
        Target { sample: "call in storm", most: Most::Times(2, "call in calm") },
    ],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let target = stage.follower().await?;
    let proxy = Proxy::before(Stage::device_socket(&target).into()).await?;
    let run = stage.journal.now();
    let attaching = (0..STORM).map(|number| {
        let lab = Lab::new(&format!("storm-{run:?}-{number}"), "storm");
        let server = proxy.url();
        lab.start(&[server])
    });
    let storm: Vec<_> = attaching.collect();
    for device in &storm {
        device.attached(3 * HEAL_PATIENCE).await?;
    }
    let all = stage.devices.iter().map(|device| device.device_id.clone()).collect();
    let leader = stage.cluster.leader(HEAL_PATIENCE).await?;
    let before = leader.api()?.cluster().await?;
    let incarnations = incarnations(stage).await?;
    let load = stage.load(LoadPlan::new(stage.cluster.running(), all)).await?;
    let calm_from = stage.journal.now();
    tokio::time::sleep(CALM).await;

    let calm_to = stage.journal.now();
    let mut waves: Vec<Wave> = Vec::new();
    while waves.len() < MOST_WAVES && met(&stage.journal.calls(), &waves).len() < CALLS_WANTED {
        waves.push(wave(stage, &proxy, &storm).await?);
    }

    let mut violations = Vec::new();
    let after = leader.api()?.cluster().await?;
    if (after.term, &after.leader) != (before.term, &before.leader) {
        violations.push(Violation::of("no_election", format!("{after:?} after {before:?}")));
    }
    let now = self::incarnations(stage).await?;
    if now != incarnations {
        violations.push(Violation::of("no_lease_is_lost", format!("{now:?} after {incarnations:?}")));
    }
    futures::future::join_all(storm.into_iter().map(LabDevice::shutdown)).await;
    violations.extend(stage.judge(load).await);
    let calls = stage.journal.calls();
    let calm = quick_within(&calls, calm_from, calm_to);
    let stormy = met(&calls, &waves);
    violations.extend(failures(&stormy));
    if calm.is_empty() {
        bail!("no calls before the storm");
    }
    let bite = Bite::when(stormy.len() >= CALLS_WANTED, || {
        format!("{} calls met {} storms", stormy.len(), waves.len())
    });
    let took = |calls: Vec<&CallRecord>| calls.into_iter().filter_map(CallRecord::took).collect::<Vec<_>>();
    Ok(Outcome::new(bite, violations)
        .measured("all back", waves.iter().map(|wave| wave.back_at.saturating_sub(wave.open_at)))
        .measured("call in calm", took(calm))
        .measured("call in storm", took(stormy)))
}

/// One loss of all devices, and their return.
struct Wave {
    cut_at: Duration,
    open_at: Duration,
    back_at: Duration,
}

async fn wave(stage: &Stage, proxy: &Proxy, storm: &[LabDevice]) -> anyhow::Result<Wave> {
    let attached = || storm.iter().filter(|device| device.state().is_attached()).count();
    let cut_at = stage.journal.now();
    proxy.set(Pass::Cut);
    wait_until("all have lost their connection", HEAL_PATIENCE, async || {
        ensure!(attached() == 0, "{} are still attached", attached());
        Ok(())
    })
    .await?;
    proxy.set(Pass::Freely);
    let open_at = stage.journal.now();
    wait_until("all are back", 3 * HEAL_PATIENCE, async || {
        ensure!(attached() == STORM, "{} of {STORM}", attached());
        Ok(())
    })
    .await?;
    Ok(Wave { cut_at, open_at, back_at: stage.journal.now() })
}

fn quick_within(calls: &[CallRecord], from: Duration, to: Duration) -> Vec<&CallRecord> {
    calls.iter().filter(|call| call.sent_at > from && call.sent_at < to && call.is_quick()).collect()
}

/// The quick calls that were sent while devices were away or coming back.
fn met<'a>(calls: &'a [CallRecord], waves: &[Wave]) -> Vec<&'a CallRecord> {
    waves.iter().flat_map(|wave| quick_within(calls, wave.cut_at, wave.back_at)).collect()
}

/// The starts of all nodes: another one tells of a lease that was lost.
async fn incarnations(stage: &Stage) -> anyhow::Result<Vec<(String, u64)>> {
    let leader = stage.cluster.leader(HEAL_PATIENCE).await?;
    let nodes = leader.api()?.nodes().await?;
    Ok(nodes.into_iter().map(|node| (node.name, node.incarnation)).collect())
}
