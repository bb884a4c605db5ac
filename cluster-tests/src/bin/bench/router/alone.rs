//! How long one caller waits who makes one call after the other.

use super::{
    figures::{LOCAL_ALONE, RAW_ALONE, REMOTE_ALONE},
    scene::Scene,
    unary::{self, UnaryCaller},
};
use crate::{limits::SAMPLE, load, report::Report};

/// One round.
pub(super) async fn measure(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
    let one = |url: String, group: String| async move {
        let caller = UnaryCaller::new(unary::connect(&url).await?, unary::echo(&group));
        let took = load::round_trips(caller, SAMPLE / 2).await?;
        anyhow::Ok(took.percentile_us(0.5))
    };
    report.add(RAW_ALONE, one(scene.raw.clone(), String::new()).await?);
    report.add(REMOTE_ALONE, one(scene.entry.clone(), scene.remote()).await?);
    report.add(LOCAL_ALONE, one(scene.entry.clone(), scene.local()).await?);
    Ok(())
}
