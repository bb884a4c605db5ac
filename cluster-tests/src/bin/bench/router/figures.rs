//! The figures of `bench router`: what is declared, and how one round of each is measured.

use std::{pin::Pin, time::Duration};

use anyhow::Context;
use tokio::task::JoinSet;

use super::{
    scene::Scene,
    stream::{self, Expected},
    unary::{self, UnaryCaller},
};
use crate::{
    limits::{CALLERS, LARGE_CALLERS, PIPELINED, SAMPLE, SMALL_RATE},
    load::{self, Caller},
    report::{Bound, Figure, Report},
    stats::Latencies,
};

const RAW: &str = "raw tonic echo, 256 callers";
const REMOTE: &str = "unary, device on another node";
const LOCAL: &str = "unary, device on the same node";
const NOBODY: &str = "unary, empty group";
const RAW_ALONE: &str = "raw tonic echo, one caller, p50";
const REMOTE_ALONE: &str = "one caller, device on another node, p50";
const LOCAL_ALONE: &str = "one caller, device on the same node, p50";
const STREAM: &str = "InvokeStream, another node, 256 in flight";
const STREAM_DEEP: &str = "InvokeStream, another node, 1,024 in flight";
const STREAM_LOCAL: &str = "InvokeStream, same node, 1,024 in flight";
const STREAM_NOBODY: &str = "InvokeStream, empty group, 1,024 in flight";
const ADDED: &str = "added latency at half the rate, p99";
const RAW_LARGE: &str = "raw tonic echo of 500 KB";
const RAW_LARGE_REPLY: &str = "raw tonic, 500 KB replies to small requests";
const LARGE: &str = "500 KB replies, device on another node";
const RAW_SMALL: &str = "raw tonic, small calls alone, p99";
const RAW_BESIDE: &str = "raw tonic, small calls beside large, p99";
const SMALL: &str = "small calls alone, p99";
const BESIDE: &str = "small calls beside large, p99";

type Measured<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

/// Figures that are measured together, in one round.
pub(crate) struct Together {
    pub(crate) names: &'static [&'static str],
    pub(crate) measure: for<'a> fn(&'a Scene, &'a mut Report) -> Measured<'a>,
}

/// All figures, with what they are held against.
pub(crate) fn declared() -> Vec<Figure> {
    use Bound::{AtLeast, AtMost};
    vec![
        Figure::new(RAW, "calls/s"),
        Figure::new(REMOTE, "calls/s").against(RAW, AtLeast(0.7)),
        Figure::new(LOCAL, "calls/s").against(RAW, AtLeast(0.85)),
        Figure::new(NOBODY, "calls/s").against(RAW, AtLeast(0.9)),
        Figure::new(RAW_ALONE, "µs"),
        Figure::new(REMOTE_ALONE, "µs").against(RAW_ALONE, AtMost(3.3)),
        Figure::new(LOCAL_ALONE, "µs").beside(RAW_ALONE),
        Figure::new(STREAM, "calls/s").beside(RAW),
        Figure::new(STREAM_DEEP, "calls/s").beside(RAW),
        Figure::new(STREAM_LOCAL, "calls/s").beside(RAW),
        Figure::new(STREAM_NOBODY, "calls/s").goal(AtLeast(300_000.0)),
        Figure::new(ADDED, "µs").goal(AtMost(10_000.0)),
        Figure::new(RAW_LARGE, "calls/s"),
        Figure::new(RAW_LARGE_REPLY, "calls/s"),
        Figure::new(LARGE, "calls/s").against(RAW_LARGE, AtLeast(0.6)).beside(RAW_LARGE_REPLY),
        Figure::new(RAW_SMALL, "µs"),
        Figure::new(RAW_BESIDE, "µs").beside(RAW_SMALL),
        Figure::new(SMALL, "µs"),
        Figure::new(BESIDE, "µs").against(SMALL, AtMost(2.0)),
    ]
}

/// All figures, in the order in which they are measured.
pub(crate) fn all() -> Vec<Together> {
    vec![
        Together { names: &[RAW, REMOTE, LOCAL, NOBODY], measure: |s, r| Box::pin(rates(s, r)) },
        Together { names: &[RAW_ALONE, REMOTE_ALONE, LOCAL_ALONE], measure: |s, r| Box::pin(alone(s, r)) },
        Together {
            names: &[STREAM, STREAM_DEEP, STREAM_LOCAL, STREAM_NOBODY],
            measure: |s, r| Box::pin(streams(s, r)),
        },
        Together { names: &[ADDED], measure: |s, r| Box::pin(added(s, r)) },
        Together { names: &[RAW_LARGE, RAW_LARGE_REPLY, LARGE], measure: |s, r| Box::pin(large(s, r)) },
        Together {
            names: &[RAW_SMALL, RAW_BESIDE, SMALL, BESIDE],
            measure: |s, r| Box::pin(small_beside_large(s, r)),
        },
    ]
}

async fn rates(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
    let connections = scene.connections;
    let raw = UnaryCaller::many(&scene.raw, &unary::echo(""), CALLERS, connections.raw).await?;
    report.add(RAW, load::rate(raw, SAMPLE).await?);
    for (name, group) in [(REMOTE, scene.remote()), (LOCAL, scene.local())] {
        let callers =
            UnaryCaller::many(&scene.entry, &unary::echo(&group), CALLERS, connections.ours).await?;
        report.add(name, load::rate(callers, SAMPLE).await?);
    }
    let nobody = UnaryCaller::many(&scene.entry, &unary::echo("nobody"), CALLERS, connections.ours).await?;
    let nobody = nobody.into_iter().map(UnaryCaller::refused).collect();
    report.add(NOBODY, load::rate(nobody, SAMPLE).await?);
    Ok(())
}

async fn alone(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
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

async fn streams(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
    let kinds = [
        (STREAM, scene.remote(), Expected::Answered, CALLERS),
        (STREAM_DEEP, scene.remote(), Expected::Answered, PIPELINED),
        (STREAM_LOCAL, scene.local(), Expected::Answered, PIPELINED),
        (STREAM_NOBODY, "nobody".to_owned(), Expected::NobodyThere, PIPELINED),
    ];
    for (name, group, expected, in_flight) in kinds {
        let request = unary::echo(&group);
        let streams = scene.connections.ours;
        report.add(name, stream::rate(&scene.entry, &request, expected, streams, in_flight, SAMPLE).await?);
    }
    Ok(())
}

/// An ordinary call that notes what Rollcall added to it.
#[derive(Clone)]
struct Watched {
    caller: UnaryCaller,
    added: std::sync::Arc<parking_lot::Mutex<Vec<Duration>>>,
}

impl Caller for Watched {
    async fn call(&mut self) -> anyhow::Result<u64> {
        let answer = self.caller.ask().await?;
        let added = unary::added(answer.timings).context("an answer without timings")?;
        self.added.lock().push(added);
        Ok(1)
    }
}

async fn added(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
    let half = report.median(REMOTE).unwrap_or(20_000.0) / 2.0;
    let caller = UnaryCaller::new(unary::connect(&scene.entry).await?, unary::echo(&scene.remote()));
    let watched = Watched { caller, added: Default::default() };
    load::at_rate(watched.clone(), half, SAMPLE).await?;
    let added = std::mem::take(&mut *watched.added.lock());
    report.add(ADDED, Latencies::of(added).percentile_us(0.99));
    Ok(())
}

async fn large(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
    let kinds = [
        (RAW_LARGE, &scene.raw, unary::large_echo()),
        (RAW_LARGE_REPLY, &scene.raw, unary::large("")),
        (LARGE, &scene.entry, unary::large(&scene.remote())),
    ];
    for (name, url, request) in kinds {
        let callers = UnaryCaller::many(url, &request, LARGE_CALLERS, 2).await?;
        report.add(name, load::rate(callers, SAMPLE).await?);
    }
    Ok(())
}

async fn small_beside_large(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
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

async fn small(url: &str, group: &str) -> anyhow::Result<f64> {
    let caller = UnaryCaller::new(unary::connect(url).await?, unary::echo(group));
    Ok(load::at_rate(caller, SMALL_RATE, SAMPLE).await?.percentile_us(0.99))
}
