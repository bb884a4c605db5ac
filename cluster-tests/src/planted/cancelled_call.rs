//! A caller leaves while its call runs.

use futures::FutureExt;
use rollcall_registry::faults::Switch;

use super::{Planted, Scene};
use crate::{
    SPREAD_PATIENCE,
    rows::{Bite, Outcome},
};

/// The bug.
pub(super) const BUG: Planted = Planted {
    bug: "pending entries leaked",
    switch: Switch::PendingLeaked,
    story: "a caller leaves while its call runs",
    caught_by: "tables_empty",
    play: |scene| play(scene).boxed_local(),
};

async fn play(scene: &Scene) -> anyhow::Result<Outcome> {
    let (_, caller, holder) = scene.cluster.leader_and_two_others().await?;
    let _device = scene.attach(&holder).await?;
    scene.cluster.caught_up(SPREAD_PATIENCE).await?;
    let (api, request) = (caller.api()?, scene.request(500));
    let name = request.request_id.clone();
    // Not in the journal: nobody waits for its end.
    let leaving = tokio::spawn(async move { api.call(request).await.map(drop) });
    scene.runs(&name).await?;
    leaving.abort();
    let left = leaving.await.is_err();
    let violations = scene.judge().await?;
    Ok(Outcome::new(Bite::when(left, || "the call had ended before its caller left".into()), violations))
}
