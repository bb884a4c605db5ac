//! Row 14: the leader's disk takes 500 ms for each fsync. Connects take longer or leadership moves; no lease is lost, and
//! calls do not notice.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::FutureExt;
use rollcall_registry::faults::Switch;

use super::{
    Bite, Outcome, Row,
    row_01_follower_killed::{failures, moved},
};
use crate::{
    HEAL_PATIENCE, Node,
    history::CallRecord,
    invariants::Violation,
    stage::{Ground, LoadPlan, Stage, connect_pause},
};

/// How long the disk is slow: longer than a lease.
const SLOW: Duration = Duration::from_secs(6);

/// The row.
pub(super) const ROW: Row = Row {
    number: 14,
    event: "500 ms fsyncs on the leader",
    grounds: &[Ground::Faults],
    bites_wanted: 20,
    targets: &[],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let leader = stage.cluster.leader(HEAL_PATIENCE).await?;
    let other = stage.follower().await?;
    let all: Vec<_> = stage.devices.iter().map(|device| device.device_id.clone()).collect();
    let load = stage.load(LoadPlan::new(stage.cluster.running(), all.clone())).await?;
    let lives = incarnations(&other).await?;

    let slow_at = stage.journal.now();
    leader.switch(&[Switch::SyncsSlow]).await?;
    let since = Instant::now();
    let mut connects = Vec::new();
    while since.elapsed() < SLOW {
        let name = format!("probe-{slow_at:?}-{}", connects.len());
        connects.push(connect_pause(&other, Instant::now(), &name).await?);
    }
    let until = stage.journal.now();
    let after = incarnations(&other).await?;
    leader.switch(&[]).await?;

    let mut violations = stage.judge(load).await;
    let calls = stage.journal.calls();
    let during = |call: &&CallRecord| call.sent_at > slow_at && call.sent_at < until;
    let met: Vec<_> = calls.iter().filter(during).collect();
    violations.extend(failures(&met));
    violations.extend(moved(stage, &all, slow_at));
    if after != lives {
        violations.push(Violation::of("no_lease_is_lost", format!("{after:?} after {lives:?}")));
    }
    let bite = Bite::when(met.len() >= 50, || format!("only {} calls met the fault", met.len()));
    Ok(Outcome::new(bite, violations).measured("connect", connects))
}

/// The incarnation of each node that is up: one that lost its lease gets another.
async fn incarnations(seen_by: &Node) -> anyhow::Result<BTreeMap<String, u64>> {
    let nodes = seen_by.api()?.nodes().await?;
    Ok(nodes.into_iter().map(|node| (node.name, node.incarnation)).collect())
}
