//! Holder and caller's node lose their leader, and go on to hear each other.

use std::time::Duration;

use futures::FutureExt;
use rollcall_registry::{faults::Switch, limits::LEASE_TTL};

use super::{Planted, Scene};
use crate::{
    SPREAD_PATIENCE,
    invariants::{Fenced, fenced_delivers_nothing},
    rows::{Bite, Outcome},
};

/// The bug.
pub(super) const BUG: Planted = Planted {
    bug: "lease margin off (a lease once granted never ends)",
    switch: Switch::LeaseUnwatched,
    story: "holder and caller's node hear no Raft for longer than a lease, and each other all the time",
    caught_by: "fenced_delivers_nothing",
    play: |scene| play(scene).boxed_local(),
};

/// How long calls go on after the lease.
const BEYOND: Duration = Duration::from_secs(1);
const PACE: Duration = Duration::from_millis(100);

async fn play(scene: &Scene) -> anyhow::Result<Outcome> {
    let (_, caller, holder) = scene.cluster.leader_and_two_others().await?;
    let _device = scene.attach(&holder).await?;
    scene.cluster.caught_up(SPREAD_PATIENCE).await?;
    for node in [&holder, &caller] {
        scene.fault(node, &[Switch::RaftCut]).await?;
    }
    let from = scene.journal.now() + LEASE_TTL;
    while scene.journal.now() < from + BEYOND {
        scene.send(&caller, scene.request(0))?.await?;
        tokio::time::sleep(PACE).await;
    }
    let fenced = Fenced { node: holder.name.clone(), from, to: scene.journal.now() };

    let mut violations = scene.judge().await?;
    let calls = scene.journal.calls();
    violations.extend(fenced_delivers_nothing(&calls, &[fenced]));
    let met = calls.iter().filter(|call| call.sent_at >= from).filter_map(|call| call.ending());
    let met = met.filter(|ending| ending.is_answer() || ending.reason() == Some("HOLDER_FENCED")).count();
    Ok(Outcome::new(Bite::when(met > 0, || "no call came to the holder after its lease".into()), violations))
}
