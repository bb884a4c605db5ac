//! How many calls a second go over `InvokeStream`s, beside what others carry with as many in flight.

use super::{
    figures::{NATS, NATS_DEEP, REDIS_LOCK, STREAM, STREAM_DEEP, STREAM_LOCAL, STREAM_NOBODY},
    scene::Scene,
    stream::{self, Expected},
    unary,
};
use crate::{
    limits::{CALLERS, PIPELINED, SAMPLE},
    load,
    report::Report,
};

/// One round.
pub(super) async fn measure(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
    nats(scene, report, NATS, CALLERS).await?;
    ours(scene, report, STREAM, &scene.remote(), Expected::Answered, CALLERS).await?;
    nats(scene, report, NATS_DEEP, PIPELINED).await?;
    ours(scene, report, STREAM_DEEP, &scene.remote(), Expected::Answered, PIPELINED).await?;
    ours(scene, report, STREAM_LOCAL, &scene.local(), Expected::Answered, PIPELINED).await?;
    ours(scene, report, STREAM_NOBODY, "nobody", Expected::NobodyThere, PIPELINED).await?;
    if let Some(dispatcher) = scene.redis_lock.as_ref().filter(|_| scene.wants(REDIS_LOCK)) {
        report.add(REDIS_LOCK, load::rate(dispatcher.workers().await?, SAMPLE).await?);
    }
    Ok(())
}

async fn ours(
    scene: &Scene,
    report: &mut Report,
    name: &'static str,
    group: &str,
    expected: Expected,
    in_flight: usize,
) -> anyhow::Result<()> {
    if scene.wants(name) {
        let (request, streams) = (unary::echo(group), scene.connections.streams);
        let rate = stream::rate(&scene.entry, &request, expected, streams, in_flight, SAMPLE).await?;
        report.add(name, rate);
    }
    Ok(())
}

async fn nats(
    scene: &Scene,
    report: &mut Report,
    name: &'static str,
    in_flight: usize,
) -> anyhow::Result<()> {
    if let Some(nats) = scene.nats.as_ref().filter(|_| scene.wants(name)) {
        let callers = nats.callers(in_flight, scene.connections.nats).await?;
        report.add(name, load::rate(callers, SAMPLE).await?);
    }
    Ok(())
}
