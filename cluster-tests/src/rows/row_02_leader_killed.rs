//! Row 2: the leader is killed and holds none of the called devices. Connects pause for an election; calls go on.

use std::time::{Duration, Instant};

use anyhow::ensure;
use futures::FutureExt;

use super::{
    Bite, Most, Outcome, Row, Target,
    row_01_follower_killed::{failures, moved},
};
use crate::{
    HEAL_PATIENCE,
    history::CallRecord,
    stage::{Ground, LoadPlan, Stage, connect_pause},
    wait_until,
};

/// The row.
pub(super) const ROW: Row = Row {
    number: 2,
    event: "the leader killed, holds none of the called devices",
    grounds: &[Ground::Loopback],
    bites_wanted: 100,
    targets: &[Target { sample: "connect pause", most: Most::Of(Duration::from_millis(1_500)) }],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let leader = stage.cluster.leader(HEAL_PATIENCE).await?;
    let called = stage.devices_not_on(&leader.name);
    let through = stage.others(&leader);
    let before = through[0].api()?.cluster().await?;
    let load = stage.load(LoadPlan::new(through.clone(), called.clone())).await?;

    let killed_at = stage.journal.now();
    let since = Instant::now();
    leader.kill9()?;
    let pause = connect_pause(&through[0], since, &format!("probe-{killed_at:?}")).await?;
    let until = stage.journal.now();
    let term = wait_until("another one leads", HEAL_PATIENCE, async || {
        let now = through[0].api()?.cluster().await?;
        ensure!(now.term > before.term && now.leader != leader.name && !now.leader.is_empty(), "{now:?}");
        Ok(now.term)
    })
    .await?;
    leader.start()?;

    let mut violations = stage.judge(load).await;
    let calls = stage.journal.calls();
    let during = |call: &&CallRecord| call.sent_at > killed_at && call.sent_at < until;
    let met: Vec<_> = calls.iter().filter(during).collect();
    violations.extend(failures(&met));
    violations.extend(moved(stage, &called, killed_at));
    let bite = Bite::when(term > before.term && met.len() >= 10, || {
        format!("term {} after {term}, {} calls met the fault", before.term, met.len())
    });
    Ok(Outcome::new(bite, violations).measured("connect pause", [pause]))
}
