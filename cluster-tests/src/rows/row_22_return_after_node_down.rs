//! Row 22: a node returns after its NodeDown. It announces again the streams that live, each on condition that nobody
//! else has the device by now.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::FutureExt;
use rollcall_proto::api::NodeState;
use tokio::task::JoinHandle;

use super::{Bite, Outcome, Row};
use crate::{
    HEAL_PATIENCE, Lab, RawDevice, RawProfile, SPREAD_PATIENCE,
    invariants::Violation,
    stage::{GROUP, Ground, LoadPlan, Stage},
    wait_until,
};

/// How long it is watched after it is up again.
const WATCHED: Duration = Duration::from_secs(2);

/// The row.
pub(super) const ROW: Row = Row {
    number: 22,
    event: "a node returns after its NodeDown",
    grounds: &[Ground::PatientDevices],
    bites_wanted: 20,
    targets: &[],
    play: |stage| play(stage).boxed_local(),
};

/// Answers pings and nothing else, until the node ends the stream.
fn stay(mut device: RawDevice) -> JoinHandle<()> {
    tokio::spawn(async move { while let Ok(Some(_)) = device.hear_within(HEAL_PATIENCE).await {} })
}

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let sleeper = stage.follower().await?;
    let others = stage.others(&sleeper);
    let (stays, moves) =
        (format!("stays-{:?}", stage.journal.now()), format!("moves-{:?}", stage.journal.now()));
    // Two streams that the sleeper still has when it wakes: nobody closes them.
    let (one, first) =
        RawDevice::attached(&sleeper.device_url(), &RawProfile::new(&stays, "streams")).await?;
    let (other, second) =
        RawDevice::attached(&sleeper.device_url(), &RawProfile::new(&moves, "streams")).await?;
    let streams = [stay(one), stay(other)];
    let all = stage.devices.iter().map(|device| device.device_id.clone()).collect();
    let load = stage.load(LoadPlan::new(others.clone(), all)).await?;

    sleeper.pause()?;
    wait_until("its lease has lapsed", HEAL_PATIENCE, async || {
        let nodes = others[0].api()?.nodes().await?;
        let seen = nodes.iter().find(|node| node.name == sleeper.name).map(|node| node.state());
        ensure!(seen == Some(NodeState::Down), "{} is {seen:?}", sleeper.name);
        Ok(())
    })
    .await?;
    // The second device appears elsewhere, as another process of it would.
    let heir = Lab::new(&moves, GROUP).attach(&[others[0].device_url()]).await?;
    let (heirs_node, heirs_epoch) = heir.attached(SPREAD_PATIENCE).await?;
    ensure!(heirs_epoch > second.epoch, "epoch {heirs_epoch} after {}", second.epoch);
    let since = Instant::now();
    sleeper.resume()?;
    stage.cluster.settled(HEAL_PATIENCE).await?;
    let announced = wait_until("the stream that lives is announced again", HEAL_PATIENCE, async || {
        let session = others[0].api()?.device(&stays).await?.session.context("no session")?;
        ensure!(session.node == sleeper.name && session.epoch > first.epoch, "{session:?}");
        Ok(since.elapsed())
    })
    .await;
    tokio::time::sleep(WATCHED).await;

    let (announced, mut violations) = match announced {
        Ok(after) => (Some(after), Vec::new()),
        Err(error) => (None, vec![Violation::of("live_streams_are_announced_again", format!("{error:#}"))]),
    };
    for node in stage.cluster.running() {
        let session = node.api()?.device(&moves).await?.session;
        let at = session.map(|session| (session.node, session.epoch));
        if at != Some((heirs_node.clone(), heirs_epoch)) {
            let what = format!("{} sees {moves} at {at:?}, not at {heirs_node} {heirs_epoch}", node.name);
            violations.push(Violation::of("no_session_is_stolen", what));
        }
    }
    heir.shutdown().await;
    streams.iter().for_each(JoinHandle::abort);
    violations.extend(stage.judge(load).await);
    Ok(Outcome::new(Bite::Bit, violations).measured("announced again", announced))
}
