//! Another process of a device takes over while a call runs that may not be repeated.

use futures::FutureExt;
use rollcall_registry::faults::Switch;

use super::{Planted, Scene};
use crate::{
    SPREAD_PATIENCE,
    history::Known,
    rows::{Bite, Outcome},
};

/// The bug.
pub(super) const BUG: Planted = Planted {
    bug: "retry on UNKNOWN",
    switch: Switch::UnknownRetried,
    story: "another process of the device takes over while a call runs that is not idempotent",
    caught_by: "at_most_once",
    play: |scene| play(scene).boxed_local(),
};

async fn play(scene: &Scene) -> anyhow::Result<Outcome> {
    let (leader, caller, holder) = scene.cluster.leader_and_two_others().await?;
    let _former = scene.attach(&holder).await?;
    scene.cluster.caught_up(SPREAD_PATIENCE).await?;
    let request = scene.request(1_000);
    let name = request.request_id.clone();
    let waiting = scene.send(&caller, request)?;
    scene.runs(&name).await?;
    let _newer = scene.attach(&leader).await?;
    waiting.await?;

    let violations = scene.judge().await?;
    let (calls, runs) = (scene.journal.calls(), scene.journal.executions().len());
    let known = calls.first().and_then(|call| call.ending()).map(|ending| ending.known());
    let bite = Bite::when(known == Some(Known::Unknown) || runs > 1, || format!("it ended {calls:?}"));
    Ok(Outcome::new(bite, violations))
}
