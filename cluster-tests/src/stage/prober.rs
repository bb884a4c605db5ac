//! Somebody who connects new devices all the time: how long nobody can.

use std::time::{Duration, Instant};

use anyhow::Context;

use crate::{HEAL_PATIENCE, Node, RawDevice, RawProfile, wait_until};

/// How long after `since` the first new device is attached through `node`.
///
/// # Errors
/// None is in time.
pub async fn connect_pause(node: &Node, since: Instant, name: &str) -> anyhow::Result<Duration> {
    connect(node, since, name).await.map(|(pause, _)| pause)
}

/// As [`connect_pause`], with the device's name: `name`, and a number.
///
/// # Errors
/// As [`connect_pause`].
pub async fn connect(node: &Node, since: Instant, name: &str) -> anyhow::Result<(Duration, String)> {
    let mut tries = 0;
    let what = format!("a new device is attached through {}", node.name);
    wait_until(&what, HEAL_PATIENCE, async || {
        tries += 1;
        let device_id = format!("{name}-{tries}");
        let profile = RawProfile::new(&device_id, "probes");
        let (device, _) = RawDevice::attached(&node.device_url(), &profile).await.context("refused")?;
        let pause = since.elapsed();
        drop(device);
        Ok((pause, device_id))
    })
    .await
}
