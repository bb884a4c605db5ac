//! What a device that stops reading does to the calls of others, beside one that reads and is called as much.

use std::time::Duration;

use bytes::Bytes;
use rollcall_cluster_tests::{RawDevice, RawProfile};
use rollcall_proto::api::InvokeRequest;
use tokio::task::JoinSet;

use super::{
    beside::small,
    figures::{STALLED, UNSTALLED},
    scene::Scene,
    unary::{self, UnaryCaller},
};
use crate::{
    limits::{LARGE_BYTES, LARGE_CALLERS},
    report::Report,
};

/// One round.
pub(super) async fn measure(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
    for (name, reading) in [(UNSTALLED, Reading::Always), (STALLED, Reading::Never)] {
        report.add(name, beside_a_device(scene, reading).await?);
    }
    Ok(())
}

/// What the device does with what it is sent. It never answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Always,
    Never,
}

async fn beside_a_device(scene: &Scene, reading: Reading) -> anyhow::Result<f64> {
    let group = format!("mute-{:x}", rand::random::<u32>());
    let (url, profile) = (scene.cluster.nodes[1].device_url(), RawProfile::new(&group, &group));
    let (mut device, _) = RawDevice::attached(&url, &profile).await?;
    scene.cluster.caught_up(rollcall_cluster_tests::SPREAD_PATIENCE).await?;
    let mut tasks = JoinSet::new();
    let request = InvokeRequest {
        payload: Bytes::from(vec![b'x'; LARGE_BYTES]),
        timeout: prost_types::Duration::try_from(PATIENCE).ok(),
        ..unary::echo(&group)
    };
    for mut caller in UnaryCaller::many(&scene.entry, &request, LARGE_CALLERS, 2).await? {
        tasks.spawn(async move {
            loop {
                // Refused or too late: nobody answers there.
                if caller.ask().await.is_err() {
                    tokio::time::sleep(PATIENCE / 10).await;
                }
            }
        });
    }
    tasks.spawn(async move {
        while reading == Reading::Always && device.hear().await.is_ok_and(|heard| heard.is_some()) {}
        // Kept, but not looked at.
        std::future::pending::<()>().await;
        drop(device);
    });
    small(&scene.entry, &scene.remote()).await
}

/// How long its callers wait.
const PATIENCE: Duration = Duration::from_millis(200);
