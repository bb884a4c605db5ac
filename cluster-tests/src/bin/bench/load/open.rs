//! Open loop: calls start at a fixed rate, whether earlier ones have been answered or not.

use std::time::Duration;

use anyhow::Context;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::Caller;
use crate::{limits::END_PATIENCE, stats::Latencies};

/// How long calls take at so many a second, each from the moment at which it was due.
///
/// Timers are fine to a millisecond, and that is part of what is measured.
///
/// # Errors
/// The first error of a call.
pub(crate) async fn at_rate<C: Caller + Clone>(
    caller: C,
    per_second: f64,
    window: Duration,
) -> anyhow::Result<Latencies> {
    let mut running: JoinSet<anyhow::Result<Duration>> = JoinSet::new();
    let begun = Instant::now();
    let total = (per_second * window.as_secs_f64()) as u64;
    for number in 0..total {
        let due = begun + Duration::from_secs_f64(number as f64 / per_second);
        if due > Instant::now() {
            sleep_until(due).await;
        }
        let mut caller = caller.clone();
        running.spawn(async move {
            caller.call().await?;
            Ok(due.elapsed())
        });
    }
    let mut took = Vec::new();
    let ended = timeout(END_PATIENCE, async {
        while let Some(ended) = running.join_next().await {
            took.push(ended??);
        }
        anyhow::Ok(())
    });
    ended.await.context("calls do not end")??;
    Ok(Latencies::of(took))
}
