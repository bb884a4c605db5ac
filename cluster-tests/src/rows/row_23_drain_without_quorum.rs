//! Row 23: a node is told to stop while there is no quorum. Calls in flight finish, and it exits within its grace.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use futures::{FutureExt, future::join_all};
use rand::seq::IndexedRandom;

use super::{Bite, Most, Outcome, Row, Target};
use crate::{
    HEAL_PATIENCE,
    history::Ending,
    invariants::Violation,
    stage::{Ground, LoadPlan, Stage},
    wait_until,
};

const NAP: Duration = Duration::from_millis(3_000);
/// What the stage's nodes are given, and a moment to exit.
const GRACE: Duration = Duration::from_millis(11_000);

/// The row.
pub(super) const ROW: Row = Row {
    number: 23,
    event: "drain without quorum",
    grounds: &[Ground::Loopback],
    bites_wanted: 20,
    targets: &[Target { sample: "exit", most: Most::Of(GRACE) }],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let running = stage.cluster.running();
    let Some(last) = running.choose(&mut stage.rng).cloned() else { bail!("nobody runs") };
    let own: Vec<_> = stage.devices_on(&last.name).iter().map(|device| device.device_id.clone()).collect();
    let load = stage.load(LoadPlan::new(vec![last.clone()], own.clone())).await?;
    let lost = stage.others(&last);
    lost.iter().try_for_each(|node| node.kill9())?;
    wait_until("it knows that there is no quorum", HEAL_PATIENCE, async || {
        let cluster = last.api()?.cluster().await?;
        ensure!(!cluster.has_quorum, "{cluster:?}");
        Ok(())
    })
    .await?;
    let naps = stage.naps(&last, &own, NAP).await?;
    let since = Instant::now();
    let status = last.stop().await;
    let took = since.elapsed();
    join_all(naps).await;
    stage.cluster.nodes.iter().try_for_each(|node| node.start())?;

    let mut violations = Vec::new();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => violations.push(Violation::of("it_exits_cleanly", status.to_string())),
        Err(error) => violations.push(Violation::of("it_exits_cleanly", format!("{error:#}"))),
    }
    violations.extend(stage.judge(load).await);
    let calls = stage.journal.calls();
    let naps = calls.iter().filter(|call| call.request_id.starts_with("nap-"));
    let cut_short: Vec<_> = naps.filter(|call| !call.ending().is_some_and(Ending::is_answer)).collect();
    violations
        .extend(cut_short.iter().map(|call| Violation::of("calls_in_flight_finish", format!("{call:?}"))));
    let bite = Bite::when(!own.is_empty(), || "nothing was in flight".into());
    Ok(Outcome::new(bite, violations).measured("exit", [took]))
}
