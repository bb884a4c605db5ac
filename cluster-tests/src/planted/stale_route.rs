//! The caller's node does not hear of the device's newer session on the same holder, and forwards by the older one.

use futures::FutureExt;
use rollcall_registry::faults::Switch;

use super::{Planted, Scene};
use crate::{
    SPREAD_PATIENCE,
    rows::{Bite, Outcome},
};

/// The bug.
pub(super) const BUG: Planted = Planted {
    bug: "epoch check off",
    switch: Switch::EpochUnchecked,
    story: "the caller's node hears no Raft while the device opens anew on its holder",
    caught_by: "frames_match_routes",
    play: |scene| play(scene).boxed_local(),
};

async fn play(scene: &Scene) -> anyhow::Result<Outcome> {
    let (_, caller, holder) = scene.cluster.leader_and_two_others().await?;
    let former = scene.attach(&holder).await?;
    scene.cluster.caught_up(SPREAD_PATIENCE).await?;
    scene.fault(&caller, &[Switch::RaftCut]).await?;
    let newer = scene.attach(&holder).await?;
    let route = scene.read(&caller).await?;
    scene.send(&caller, scene.request(0))?.await?;
    scene.read(&caller).await?;

    let violations = scene.judge().await?;
    let calls = scene.journal.calls();
    let ending = calls.first().and_then(|call| call.ending());
    let met = ending.is_some_and(|ending| ending.is_answer() || ending.reason() == Some("STALE_ROUTE"));
    let bite = Bite::when(route == Some(former.epoch) && met, || {
        format!("the route was {route:?}, the sessions {} and {}: {ending:?}", former.epoch, newer.epoch)
    });
    Ok(Outcome::new(bite, violations))
}
