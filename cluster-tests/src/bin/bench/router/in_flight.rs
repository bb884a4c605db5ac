//! A hundred thousand calls in flight through one node, for as long as the longest real ones last.

use anyhow::{Context, bail, ensure};
use rollcall_cluster_tests::{Node, wait_until};
use rollcall_proto::api::invoke_stream_response::Result as Answer;
use tokio::task::JoinSet;

use super::{
    devices,
    figures::{BEFORE, DURING, PER_CALL, PER_CALL_HOLDER},
    memory,
    scene::Scene,
    stream::Calls,
    unary::{self, UnaryCaller},
};
use crate::{
    limits::{IN_FLIGHT, IN_FLIGHT_PATIENCE, IN_FLIGHT_STREAMS, SAMPLE},
    load,
    report::Report,
};

/// The only round.
pub(super) async fn measure(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
    let (entry, holder) = (&scene.cluster.nodes[0], &scene.cluster.nodes[1]);
    report.add(BEFORE, alone(scene).await?);
    let (entry_before, holder_before) = (memory::of(entry)?, memory::of(holder)?);
    let mut streams = JoinSet::new();
    for _ in 0..IN_FLIGHT_STREAMS {
        let calls = Calls::open(&scene.entry, &unary::wait(devices::WIDE)).await?;
        streams.spawn(all_answered(calls, IN_FLIGHT / IN_FLIGHT_STREAMS));
    }
    let all = wait_until("100,000 calls are in flight", IN_FLIGHT_PATIENCE, async || {
        let now = in_flight(entry).await?;
        ensure!(now >= IN_FLIGHT as f64, "{now} calls are in flight");
        Ok(())
    });
    tokio::select! {
        reached = all => reached?,
        Some(ended) = streams.join_next() => bail!("a stream ended: {:?}", ended?),
    }
    report.add(DURING, alone(scene).await?);
    let per_call = |now: f64, before: f64| (now - before) / IN_FLIGHT as f64;
    report.add(PER_CALL, per_call(memory::of(entry)?, entry_before));
    report.add(PER_CALL_HOLDER, per_call(memory::of(holder)?, holder_before));
    while let Some(ended) = streams.join_next().await {
        ended??;
    }
    Ok(())
}

async fn alone(scene: &Scene) -> anyhow::Result<f64> {
    let caller = UnaryCaller::new(unary::connect(&scene.entry).await?, unary::echo(&scene.remote()));
    Ok(load::round_trips(caller, SAMPLE).await?.percentile_us(0.5))
}

/// Makes so many calls at once, and waits until each of them is answered.
async fn all_answered(mut calls: Calls, count: usize) -> anyhow::Result<()> {
    for tag in 0..count as u64 {
        calls.send(tag)?;
    }
    for _ in 0..count {
        let answer = calls.answers.message().await?.context("the stream ended")?;
        ensure!(matches!(answer.result, Some(Answer::Response(_))), "{answer:?}");
    }
    Ok(())
}

/// Calls in flight that entered through a node, as it says.
async fn in_flight(node: &Node) -> anyhow::Result<f64> {
    let (_, page) = node.get("/metrics").await?;
    let line = page.lines().find_map(|line| line.strip_prefix("rollcall_calls_in_flight "));
    Ok(line.context("no such metric")?.parse()?)
}
