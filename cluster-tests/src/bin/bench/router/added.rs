//! What Rollcall adds to a call's time at half the rate that it can carry, open loop.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use parking_lot::Mutex;

use super::{
    figures::{ADDED, REMOTE},
    scene::Scene,
    unary::{self, UnaryCaller},
};
use crate::{
    limits::SAMPLE,
    load::{self, Caller},
    report::Report,
    stats::Latencies,
};

/// An ordinary call that notes what Rollcall added to it.
#[derive(Clone)]
struct Watched {
    caller: UnaryCaller,
    added: Arc<Mutex<Vec<Duration>>>,
}

impl Caller for Watched {
    async fn call(&mut self) -> anyhow::Result<u64> {
        let answer = self.caller.ask().await?;
        let added = unary::added(answer.timings).context("an answer without timings")?;
        self.added.lock().push(added);
        Ok(1)
    }
}

/// One round.
pub(super) async fn measure(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
    let half = report.median(REMOTE).unwrap_or(20_000.0) / 2.0;
    let caller = UnaryCaller::new(unary::connect(&scene.entry).await?, unary::echo(&scene.remote()));
    let watched = Watched { caller, added: Default::default() };
    load::at_rate(watched.clone(), half, SAMPLE).await?;
    let added = std::mem::take(&mut *watched.added.lock());
    report.add(ADDED, Latencies::of(added).percentile_us(0.99));
    Ok(())
}
