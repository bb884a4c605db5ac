//! Row 6: packets of one node reach nobody, and it still hears the others. At most one election more than needed.

use std::time::{Duration, Instant};

use anyhow::ensure;
use futures::FutureExt;
use rand::Rng;
use rollcall_proto::api::NodeState;

use super::{Bite, Outcome, Row};
use crate::{
    HEAL_PATIENCE, Loss,
    invariants::Violation,
    stage::{Ground, LoadPlan, Stage},
    wait_until,
};

/// How long the half connection lasts after the others have given the node up.
const APART: Duration = Duration::from_secs(2);

/// The row.
pub(super) const ROW: Row = Row {
    number: 6,
    event: "one-way partition",
    grounds: &[Ground::OwnNetwork, Ground::OwnNetworkFenced],
    bites_wanted: 20,
    targets: &[],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let leader = stage.cluster.leader(HEAL_PATIENCE).await?;
    let mute = if stage.rng.random() { leader.clone() } else { stage.follower().await? };
    let needed = u64::from(mute.name == leader.name);
    let others = stage.others(&mute);
    let before = others[0].api()?.cluster().await?.term;
    let called = stage.devices_not_on(&mute.name);
    let load = stage.load(LoadPlan::new(others.clone(), called)).await?;

    let since = Instant::now();
    for other in &others {
        stage.network()?.lose(Loss::OneWay(mute.addresses.host, other.addresses.host))?;
    }
    wait_until("the others give it up", HEAL_PATIENCE, async || {
        let nodes = others[0].api()?.nodes().await?;
        let seen = nodes.iter().find(|node| node.name == mute.name).map(|node| node.state());
        ensure!(seen == Some(NodeState::Down), "{} is {seen:?}", mute.name);
        Ok(())
    })
    .await?;
    let given_up = since.elapsed();
    tokio::time::sleep(APART).await;
    stage.network()?.heal()?;

    let mut violations = stage.judge(load).await;
    let after = others[0].api()?.cluster().await?.term;
    let elections = after.saturating_sub(before);
    if elections > needed + 1 {
        let what = format!("{elections} elections, {needed} needed: term {before} became {after}");
        violations.push(Violation::of("at_most_one_extra_election", what));
    }
    Ok(Outcome::new(Bite::Bit, violations).measured("given up by the others", [given_up]).counted(
        "elections that were not needed",
        usize::try_from(elections.saturating_sub(needed))?,
        usize::try_from(elections)?,
    ))
}
