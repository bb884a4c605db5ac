//! Closed loop: each caller calls again as soon as it has its answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::{task::JoinSet, time::timeout};

use super::Caller;
use crate::{
    limits::{END_PATIENCE, WARM_UP},
    stats::Latencies,
};

/// Operations per second of all callers together, after a warm-up.
///
/// # Errors
/// The first error of a call.
pub(crate) async fn rate<C: Caller>(callers: Vec<C>, window: Duration) -> anyhow::Result<f64> {
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut running = JoinSet::new();
    for mut caller in callers {
        let (done, stop) = (done.clone(), stop.clone());
        running.spawn(async move {
            while !stop.load(Relaxed) {
                done.fetch_add(caller.call().await?, Relaxed);
            }
            anyhow::Ok(())
        });
    }
    tokio::time::sleep(WARM_UP).await;
    let (from, begun) = (done.load(Relaxed), Instant::now());
    tokio::time::sleep(window).await;
    let (to, took) = (done.load(Relaxed), begun.elapsed());
    stop.store(true, Relaxed);
    let ended = timeout(END_PATIENCE, async {
        while let Some(ended) = running.join_next().await {
            ended??;
        }
        anyhow::Ok(())
    });
    ended.await.context("calls do not end")??;
    if to == from {
        bail!("not one call was answered within {took:?}");
    }
    Ok((to - from) as f64 / took.as_secs_f64())
}

/// How long the calls of one caller take who makes one after the other.
///
/// # Errors
/// The first error of a call.
pub(crate) async fn round_trips<C: Caller>(mut caller: C, window: Duration) -> anyhow::Result<Latencies> {
    let begun = Instant::now();
    while begun.elapsed() < WARM_UP {
        caller.call().await?;
    }
    let mut took = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < window {
        let asked = Instant::now();
        caller.call().await?;
        took.push(asked.elapsed());
    }
    Ok(Latencies::of(took))
}
