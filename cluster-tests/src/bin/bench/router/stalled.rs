//! What a device that stops reading does to the calls of others.

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
    report.add(UNSTALLED, small(&scene.entry, &scene.remote()).await?);
    let group = format!("stalled-{:x}", rand::random::<u32>());
    let (url, profile) = (scene.cluster.nodes[1].device_url(), RawProfile::new(&group, &group));
    let (device, _) = RawDevice::attached(&url, &profile).await?;
    scene.cluster.caught_up(rollcall_cluster_tests::SPREAD_PATIENCE).await?;
    let request = InvokeRequest {
        payload: Bytes::from(vec![b'x'; LARGE_BYTES]),
        timeout: prost_types::Duration::try_from(PATIENCE).ok(),
        ..unary::echo(&group)
    };
    let mut callers = JoinSet::new();
    for mut caller in UnaryCaller::many(&scene.entry, &request, LARGE_CALLERS, 2).await? {
        callers.spawn(async move {
            loop {
                // Refused or too late: nobody reads there.
                if caller.ask().await.is_err() {
                    tokio::time::sleep(PATIENCE / 10).await;
                }
            }
        });
    }
    let measured = small(&scene.entry, &scene.remote()).await?;
    report.add(STALLED, measured);
    drop(device);
    Ok(())
}

/// How long its callers wait.
const PATIENCE: Duration = Duration::from_millis(200);
