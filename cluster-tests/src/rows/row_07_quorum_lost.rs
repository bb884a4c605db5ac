//! Row 7: the quorum is lost. Who wants to connect is refused and told when to come again; a node goes on to serve the
//! devices it has, through its lease and beyond, and stays an endpoint.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use futures::FutureExt;
use rand::seq::IndexedRandom;
use rollcall_proto::device::attach_response::Frame;

use super::{Bite, Outcome, Row, row_01_follower_killed::failures};
use crate::{
    HEAL_PATIENCE, Node, RawDevice, RawProfile,
    history::CallRecord,
    invariants::Violation,
    stage::{Ground, LoadPlan, Stage},
    wait_until,
};

/// Beyond the lease of the node that is left.
const ALONE: Duration = Duration::from_secs(6);

/// The row.
pub(super) const ROW: Row = Row {
    number: 7,
    event: "quorum lost",
    grounds: &[Ground::Loopback],
    bites_wanted: 20,
    targets: &[],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let running = stage.cluster.running();
    let Some(last) = running.choose(&mut stage.rng).cloned() else { bail!("nobody runs") };
    let own: Vec<_> = stage.devices_on(&last.name).iter().map(|device| device.device_id.clone()).collect();
    ensure!(!own.is_empty(), "{} holds no device", last.name);
    let load = stage.load(LoadPlan::new(vec![last.clone()], own)).await?;

    let lost_at = stage.journal.now();
    let lost = stage.others(&last);
    lost.iter().try_for_each(|node| node.kill9())?;
    let since = Instant::now();
    wait_until("it knows that there is no quorum", HEAL_PATIENCE, async || {
        let cluster = last.api()?.cluster().await?;
        ensure!(!cluster.has_quorum, "{cluster:?}");
        Ok(())
    })
    .await?;
    let known = since.elapsed();
    let mut violations = Vec::new();
    let mut tries = 0;
    while since.elapsed() < ALONE {
        tries += 1;
        violations.extend(not_refused(&last, &format!("nobody-{lost_at:?}-{tries}")).await?);
        let (status, body) = last.get("/readyz").await?;
        if status != 200 {
            violations.push(Violation::of("endpoints_stay", format!("{status} {body}")));
        }
    }
    let until = stage.journal.now();
    lost.iter().try_for_each(|node| node.start())?;

    violations.extend(stage.judge(load).await);
    let calls = stage.journal.calls();
    let alone = |call: &&CallRecord| call.sent_at > lost_at && call.sent_at < until;
    let met: Vec<_> = calls.iter().filter(alone).collect();
    violations.extend(failures(&met));
    let bite = Bite::when(met.len() >= 50 && tries > 0, || format!("{} calls, {tries} connects", met.len()));
    Ok(Outcome::new(bite, violations).measured("loss known", [known]).measured(
        "call on own devices",
        met.iter().filter(|call| call.is_quick()).filter_map(|call| call.took()),
    ))
}

/// A device that wants to connect must be refused, and told when to come again.
async fn not_refused(node: &Node, name: &str) -> anyhow::Result<Option<Violation>> {
    let mut device = RawDevice::greet(&node.device_url()).await?;
    let profile = RawProfile::new(name, "nobody");
    let wrong = match device.refused(1, &profile).await {
        Ok(Frame::AttachRefused(refused)) if refused.retry_after.is_some() => return Ok(None),
        Ok(frame) => format!("it hears {frame:?}"),
        Err(error) => format!("{error:#}"),
    };
    Ok(Some(Violation::of("connects_are_refused_with_retry_after", wrong)))
}
