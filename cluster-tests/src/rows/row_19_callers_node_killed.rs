//! Row 19: the caller's node is killed with calls in flight. The same request ids through another node join what runs.

use std::time::Duration;

use anyhow::Context;
use futures::{FutureExt, future::join_all};

use super::{Bite, Outcome, Row};
use crate::{
    history::Ending,
    invariants::Violation,
    stage::{Ground, LoadPlan, Stage, nap},
    wait_until,
};

const NAP: Duration = Duration::from_millis(3_000);

/// The row.
pub(super) const ROW: Row = Row {
    number: 19,
    event: "the caller's node killed with calls in flight",
    grounds: &[Ground::Loopback],
    bites_wanted: 20,
    targets: &[],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let killed = stage.follower().await?;
    let others = stage.others(&killed);
    let called = stage.devices_not_on(&killed.name);
    let load = stage.load(LoadPlan::new(others.clone(), called.clone())).await?;
    let naps: Vec<_> = called
        .iter()
        .map(|device| {
            let id = format!("again-{:?}-{device}", stage.journal.now());
            rollcall_proto::api::InvokeRequest { idempotent: true, ..nap(device, id, NAP) }
        })
        .collect();
    let first = naps.iter().map(|nap| stage.send(&killed, nap.clone())).collect::<Result<Vec<_>, _>>()?;
    wait_until("they run", crate::SPREAD_PATIENCE, async || {
        let executions = stage.journal.executions();
        let runs = |id: &str| executions.iter().any(|execution| execution.request_id == id);
        naps.iter().all(|nap| runs(&nap.request_id)).then_some(()).context("not all of them")
    })
    .await?;
    killed.kill9()?;
    join_all(first).await;
    let again = naps.iter().map(|nap| stage.send(&others[0], nap.clone())).collect::<Result<Vec<_>, _>>()?;
    join_all(again).await;
    killed.start()?;

    let mut violations = stage.judge(load).await;
    let calls = stage.journal.calls();
    let ours = || calls.iter().filter(|call| call.request_id.starts_with("again-"));
    let (first, again): (Vec<_>, Vec<_>) = ours().partition(|call| call.through == killed.name);
    let unanswered = again.iter().filter(|call| !call.ending().is_some_and(Ending::is_answer));
    violations.extend(unanswered.map(|call| Violation::of("the_repeat_is_answered", format!("{call:?}"))));
    let lost = first.iter().filter(|call| matches!(call.ending(), Some(Ending::Lost { .. }))).count();
    let bite =
        Bite::when(lost == naps.len() && lost > 0, || format!("{lost} of {} were cut off", naps.len()));
    let answered = again.iter().filter_map(|call| call.took());
    Ok(Outcome::new(bite, violations).measured("repeat answered", answered))
}
