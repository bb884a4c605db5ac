//! What large replies do to small calls beside them.

use tokio::task::JoinSet;

use super::{
    figures::{BESIDE, RAW_BESIDE, RAW_SMALL, SMALL},
    scene::Scene,
    unary::{self, UnaryCaller},
};
use crate::{
    limits::{LARGE_CALLERS, SAMPLE, SMALL_RATE},
    load::{self, Caller},
    report::Report,
};

/// One round.
pub(super) async fn measure(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
    let sides =
        [(RAW_SMALL, RAW_BESIDE, &scene.raw, String::new()), (SMALL, BESIDE, &scene.entry, scene.remote())];
    for (alone, beside, url, group) in sides {
        report.add(alone, small(url, &group).await?);
        let mut bulk = JoinSet::new();
        for mut caller in UnaryCaller::many(url, &unary::large(&group), LARGE_CALLERS, 2).await? {
            bulk.spawn(async move {
                loop {
                    caller.call().await?;
                }
                #[allow(unreachable_code, reason = "names the type of the error")]
                anyhow::Ok(())
            });
        }
        tokio::select! {
            took = small(url, &group) => report.add(beside, took?),
            Some(ended) = bulk.join_next() => ended??,
        }
    }
    Ok(())
}

/// The 99th percentile of small calls, open loop.
pub(super) async fn small(url: &str, group: &str) -> anyhow::Result<f64> {
    let caller = UnaryCaller::new(unary::connect(url).await?, unary::echo(group));
    Ok(load::at_rate(caller, SMALL_RATE, SAMPLE).await?.percentile_us(0.99))
}
