//! Row 26: a node's disk takes writes and never makes them durable. If it led, another one leads; nobody loses what was
//! acknowledged, calls to devices elsewhere do not notice, and the node goes on where it was when its disk does.

use std::time::{Duration, Instant};

use anyhow::ensure;
use futures::FutureExt;
use rand::Rng;
use rollcall_registry::faults::Switch;

use super::{
    Bite, Most, Outcome, Row, Target,
    row_01_follower_killed::{failures, moved},
};
use crate::{
    HEAL_PATIENCE,
    history::CallRecord,
    invariants::Violation,
    stage::{Ground, LoadPlan, Stage, connect},
    wait_until,
};

/// How long the disk is stuck: longer than an election, and than a node's lease.
const STUCK: Duration = Duration::from_secs(5);
/// Connects in the meantime, each an entry of the log.
const PAUSE: Duration = Duration::from_millis(250);

/// The row.
pub(super) const ROW: Row = Row {
    number: 26,
    event: "a stuck fsync, of the leader or a follower",
    grounds: &[Ground::Faults],
    bites_wanted: 20,
    targets: &[Target { sample: "connect pause", most: Most::Of(Duration::from_millis(1_500)) }],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let leader = stage.cluster.leader(HEAL_PATIENCE).await?;
    let stuck = if stage.rng.random() { leader.clone() } else { stage.follower().await? };
    let through = stage.others(&stuck);
    let called = stage.devices_not_on(&stuck.name);
    let before = stage.cluster.leader(HEAL_PATIENCE).await?.api()?.cluster().await?;
    let load = stage.load(LoadPlan::new(through.clone(), called.clone())).await?;

    let stuck_at = stage.journal.now();
    stuck.switch(&[Switch::SyncsStuck]).await?;
    let (since, mut connects, mut acknowledged) = (Instant::now(), Vec::new(), Vec::new());
    while since.elapsed() < STUCK {
        let name = format!("probe-{stuck_at:?}-{}", connects.len());
        let (pause, device_id) = connect(&through[0], Instant::now(), &name).await?;
        connects.push(pause);
        acknowledged.push(device_id);
        tokio::time::sleep(PAUSE).await;
    }
    let until = stage.journal.now();
    let now = wait_until("the others have a leader that is well", HEAL_PATIENCE, async || {
        let now = through[0].api()?.cluster().await?;
        ensure!(now.has_quorum && !now.leader.is_empty(), "{now:?}");
        Ok(now)
    })
    .await?;
    let behind = now.applied_index.saturating_sub(stuck.api()?.cluster().await?.applied_index);
    stuck.switch(&[]).await?;

    let mut violations = stage.judge(load).await;
    let calls = stage.journal.calls();
    let during = |call: &&CallRecord| call.sent_at > stuck_at && call.sent_at < until;
    let met: Vec<_> = calls.iter().filter(during).collect();
    violations.extend(failures(&met));
    violations.extend(moved(stage, &called, stuck_at));
    for node in stage.cluster.running() {
        for name in &acknowledged {
            if let Err(error) = node.api()?.device(name).await {
                let what = format!("{} lacks {name}: {error:#}", node.name);
                violations.push(Violation::of("acknowledged_opens_kept", what));
            }
        }
    }
    if stuck.name != leader.name && now.term != before.term {
        violations.push(Violation::of("no_election", format!("term {} after {}", now.term, before.term)));
    }
    let bite = Bite::when(behind > 0 && met.len() >= 50, || {
        format!("it is {behind} entries behind, {} calls met the fault", met.len())
    });
    Ok(Outcome::new(bite, violations).measured("connect pause", connects))
}
