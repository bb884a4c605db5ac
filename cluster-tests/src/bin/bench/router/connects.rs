//! How many devices a second connect and attach, beside connections to the yardstick that make one call.

use rollcall_cluster_tests::{RawDevice, RawProfile};

use super::{
    figures::{CONNECTS, RAW_CONNECTS},
    scene::Scene,
    unary::{self, UnaryCaller},
};
use crate::{
    limits::{CONNECTING, SAMPLE},
    load::{self, Caller},
    report::Report,
};

/// One round.
pub(super) async fn measure(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
    let raw = vec![Echoing { url: scene.raw.clone() }; CONNECTING];
    report.add(RAW_CONNECTS, load::rate(raw, SAMPLE).await?);
    let devices = vec![Attaching { url: scene.cluster.nodes[1].device_url() }; CONNECTING];
    report.add(CONNECTS, load::rate(devices, SAMPLE).await?);
    Ok(())
}

/// Connects, makes one call, leaves.
#[derive(Clone)]
struct Echoing {
    url: String,
}

impl Caller for Echoing {
    async fn call(&mut self) -> anyhow::Result<u64> {
        UnaryCaller::new(unary::connect(&self.url).await?, unary::echo("")).call().await
    }
}

/// Connects, attaches a device that was never there before, leaves.
#[derive(Clone)]
struct Attaching {
    url: String,
}

impl Caller for Attaching {
    async fn call(&mut self) -> anyhow::Result<u64> {
        let id = format!("visitor-{:x}", rand::random::<u64>());
        RawDevice::attached(&self.url, &RawProfile::new(&id, "visitors")).await?;
        Ok(1)
    }
}
