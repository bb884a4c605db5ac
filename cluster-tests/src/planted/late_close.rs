//! A node's close of a session comes after the device has opened its next one elsewhere.

use anyhow::ensure;
use futures::FutureExt;
use rollcall_registry::faults::Switch;

use super::{Planted, Scene};
use crate::{
    Node, PlainDevice, RawProfile, SPREAD_PATIENCE, invariants,
    rows::{Bite, Outcome},
    wait_until,
};

/// The bug.
pub(super) const BUG: Planted = Planted {
    bug: "late close unconditional",
    switch: Switch::ClosesUnconditional,
    story: "a holder's closes are held back until the device that left is on another node",
    caught_by: "acknowledged_opens_kept",
    play: |scene| play(scene).boxed_local(),
};

async fn play(scene: &Scene) -> anyhow::Result<Outcome> {
    let (_, former, next) = scene.cluster.leader_and_two_others().await?;
    let device = scene.attach(&former).await?;
    let before = sessions(&former).await?;
    scene.fault(&former, &[Switch::BatchesHeld]).await?;
    device.detach().await;
    wait_until("the former holder has ended the session", SPREAD_PATIENCE, async || {
        let now = sessions(&former).await?;
        ensure!(now < before, "it has {now} sessions");
        Ok(())
    })
    .await?;
    let heir = scene.attach(&next).await?;
    scene.fault(&former, &[]).await?;
    // A node's batches are applied in their order: after this open, the close has been as well.
    let probe = RawProfile::new(&format!("after-{}", scene.device_id()), "probes");
    let probe = PlainDevice::attach(&former, &probe, &scene.journal).await?;

    let mut violations = scene.judge().await?;
    violations.extend(invariants::acknowledged_opens_kept(&scene.seen(heir.epoch).await?));
    let bite = Bite::when(heir.epoch > device.epoch && probe.epoch > heir.epoch, || {
        format!("epochs {}, {}, {}", device.epoch, heir.epoch, probe.epoch)
    });
    Ok(Outcome::new(bite, violations))
}

/// How many device sessions a node has, by its own gauge.
async fn sessions(node: &Node) -> anyhow::Result<f64> {
    let (_, page) = node.get("/metrics").await?;
    let samples = page.lines().filter_map(|line| line.rsplit_once(' '));
    let ours = samples.filter(|(series, _)| series.split('{').next() == Some("rollcall_device_sessions"));
    Ok(ours.filter_map(|(_, value)| value.parse::<f64>().ok()).sum())
}
