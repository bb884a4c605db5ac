//! A caller sends an idempotent call twice under one request id, through two nodes.

use futures::{FutureExt, future::join_all};
use rollcall_proto::api::InvokeRequest;
use rollcall_registry::faults::Switch;

use super::{Planted, Scene};
use crate::{
    SPREAD_PATIENCE,
    rows::{Bite, Outcome},
};

/// The bug.
pub(super) const BUG: Planted = Planted {
    bug: "de-duplication off",
    switch: Switch::Repeats,
    story: "an idempotent call comes by two nodes to a device that does not know it again",
    caught_by: "at_most_once",
    play: |scene| play(scene).boxed_local(),
};

async fn play(scene: &Scene) -> anyhow::Result<Outcome> {
    let (leader, caller, holder) = scene.cluster.leader_and_two_others().await?;
    let _device = scene.attach(&holder).await?;
    scene.cluster.caught_up(SPREAD_PATIENCE).await?;
    let request = InvokeRequest { idempotent: true, ..scene.request(300) };
    let first = scene.send(&caller, request.clone())?;
    scene.runs(&request.request_id).await?;
    let second = scene.send(&leader, request)?;
    join_all([first, second]).await;

    let violations = scene.judge().await?;
    let calls = scene.journal.calls();
    let answered = calls.iter().filter(|call| call.ending().is_some_and(|ending| ending.is_answer()));
    let answered = answered.count();
    Ok(Outcome::new(Bite::when(answered == 2, || format!("{answered} of 2 were answered")), violations))
}
