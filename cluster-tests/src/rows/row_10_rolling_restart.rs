//! Row 10: all nodes are restarted, one after the other, under load. Devices move before their node goes; callers who
//! have all nodes lose no call that may be repeated.

use std::time::{Duration, Instant};

use futures::FutureExt;
use rand::seq::SliceRandom;

use super::{Bite, Outcome, Row};
use crate::{
    HEAL_PATIENCE,
    history::{CallRecord, Ending},
    invariants::Violation,
    stage::{Ground, LoadPlan, Stage},
};

/// Calls that a restart must have met.
pub(super) const MET: usize = 100;

/// The row.
pub(super) const ROW: Row = Row {
    number: 10,
    event: "rolling restart of all nodes under load",
    grounds: &[Ground::Loopback],
    bites_wanted: 5,
    targets: &[],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let mut nodes = stage.cluster.running();
    nodes.shuffle(&mut stage.rng);
    let all = stage.devices.iter().map(|device| device.device_id.clone()).collect();
    let load = stage.load(LoadPlan::new(nodes.clone(), all).by_clients()).await?;

    let from = stage.journal.now();
    let mut violations = Vec::new();
    let mut took = Vec::new();
    for node in &nodes {
        let since = Instant::now();
        let status = node.stop().await?;
        if !status.success() {
            violations.push(Violation::of("it_exits_cleanly", format!("{}: {status}", node.name)));
        }
        node.start()?;
        stage.cluster.settled(HEAL_PATIENCE).await?;
        took.push(since.elapsed());
    }
    let until = stage.journal.now();

    violations.extend(stage.judge(load).await);
    let calls = stage.journal.calls();
    let (repeatable, once) = met(&calls, from, until);
    let failed = |call: &&&CallRecord| !call.ending().is_some_and(Ending::is_answer);
    let lost = repeatable.iter().filter(failed);
    violations.extend(lost.map(|call| Violation::of("no_idempotent_call_fails", format!("{call:?}"))));
    let bite = Bite::when(repeatable.len() >= MET && once.len() >= MET, || {
        format!("{} idempotent calls met it, {} others", repeatable.len(), once.len())
    });
    Ok(Outcome::new(bite, violations).measured("one node's restart", took).counted(
        "failed that may run once",
        once.iter().filter(failed).count(),
        once.len(),
    ))
}

/// The calls of a time, idempotent and not.
pub(super) fn met(
    calls: &[CallRecord],
    from: Duration,
    until: Duration,
) -> (Vec<&CallRecord>, Vec<&CallRecord>) {
    let during = calls.iter().filter(|call| call.sent_at > from && call.sent_at < until);
    during.partition(|call| call.idempotent)
}
