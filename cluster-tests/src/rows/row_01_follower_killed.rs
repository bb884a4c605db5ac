//! Row 1: a follower is killed that holds none of the called devices. Nobody notices.

use std::time::{Duration, Instant};

use futures::FutureExt;

use super::{Bite, Outcome, Row};
use crate::{
    history::{CallRecord, Ending},
    invariants::Violation,
    stage::{Ground, LoadPlan, Stage, connect_pause},
};

/// How long calls go on without the node: through a link's silence and the node's lease.
const WITHOUT_IT: Duration = Duration::from_secs(2);

/// The row.
pub(super) const ROW: Row = Row {
    number: 1,
    event: "a follower killed, holds none of the called devices",
    grounds: &[Ground::Loopback],
    bites_wanted: 20,
    targets: &[],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let victim = stage.follower().await?;
    let called = stage.devices_not_on(&victim.name);
    let through = stage.others(&victim);
    let term = through[0].api()?.cluster().await?.term;
    let load = stage.load(LoadPlan::new(through.clone(), called.clone())).await?;

    let killed_at = stage.journal.now();
    let since = Instant::now();
    victim.kill9()?;
    let pause = connect_pause(&through[0], since, &format!("probe-{killed_at:?}")).await?;
    tokio::time::sleep(WITHOUT_IT.saturating_sub(since.elapsed())).await;
    let until = stage.journal.now();
    let term_after = through[0].api()?.cluster().await?.term;
    victim.start()?;

    let mut violations = stage.judge(load).await;
    let during = |call: &&CallRecord| call.sent_at > killed_at && call.sent_at < until;
    let calls = stage.journal.calls();
    let met: Vec<_> = calls.iter().filter(during).collect();
    violations.extend(failures(&met));
    violations.extend(moved(stage, &called, killed_at));
    if term_after != term {
        violations.push(Violation::of("no_election", format!("term {term_after} after {term}")));
    }
    let bite = Bite::when(met.len() >= 50, || format!("only {} calls met the fault", met.len()));
    let took = met.iter().filter_map(|call| call.took()).max();
    Ok(Outcome::new(bite, violations).measured("connect pause", [pause]).measured("longest call", took))
}

/// Calls that were promised to go on, and failed.
pub(super) fn failures(calls: &[&CallRecord]) -> Vec<Violation> {
    let failed = calls.iter().filter(|call| !call.ending().is_some_and(Ending::is_answer));
    failed.map(|call| Violation::of("no_call_fails", format!("{call:?}"))).collect()
}

/// Devices that were promised to stay, and lost their session.
pub(super) fn moved(stage: &Stage, devices: &[String], since: Duration) -> Vec<Violation> {
    let lost = devices.iter().filter(|device| !stage.back_after(&[(*device).clone()], since).is_empty());
    lost.map(|device| Violation::of("no_session_is_lost", format!("{device} had to open another"))).collect()
}
