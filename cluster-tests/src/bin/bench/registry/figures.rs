//! The figures of `bench registry`: what is declared, and how they are measured.

use anyhow::Context;
use rollcall_cluster_tests::ClusterPlan;
use serde_json::Value;

use super::{
    attach,
    batcher::Registries,
    etcd::Etcd,
    redis::{Durability, Redis},
};
use crate::{
    children::Helper,
    limits::{
        CHANGE_RATE, CHANGE_WINDOW, FOUNDERS, OUTSTANDING, OUTSTANDING_DEEP, SAMPLE, SESSIONS, SLOTS,
        TXN_KEYS,
    },
    load,
    report::{Bound, Figure, Report},
};

const ETCD_PUT: &str = "etcd, 3 nodes, single puts, 3,072 outstanding";
const ETCD_TXN: &str = "etcd, 3 nodes, keys in Txn of 128, 3,072 keys";
const REDIS_NX: &str = "Redis, SET NX, nothing on disk, 3,072 clients";
const REDIS_ALWAYS: &str = "Redis, pipelined, appendfsync always, 3,072";
const CHANGES: &str = "durable session changes, 3,072 outstanding";
const CHANGES_DEEP: &str = "durable session changes, 24,000 outstanding";
const P50: &str = "one change at 1,000/s, p50";
const P99: &str = "one change at 1,000/s, p99";
const ATTACHES: &str = "attaches over 6 device connections";
const LOOK_UPS: &str = "route look-ups, one core, 1,000,000 sessions";
const LOOK_UPS_TOGETHER: &str = "the same, sixteen at a time";
const LOOK_UPS_BESIDE: &str = "route look-ups while batches are applied";
const OPENS: &str = "opens applied to the tables";
const ROW: &str = "memory per session row, with its indexes";
const PAUSE: &str = "snapshot of 1,000,000 sessions: apply pause";
const SLOWEST: &str = "slowest full batch while it is written";
const SLOWEST_BEFORE: &str = "slowest full batch without one";
const WRITE: &str = "snapshot written in";
const BYTES: &str = "snapshot size";
const RESTORE: &str = "snapshot restored in";
const FILL: &str = "1,000,000 sessions opened, 30,000 outstanding";
const LIVE_SNAPSHOT: &str = "snapshot of them by three nodes at once";
const NEWCOMER: &str = "newcomer caught up with them";

/// All figures, with what they are held against.
pub(crate) fn declared() -> Vec<Figure> {
    use Bound::{AtLeast, AtMost};
    vec![
        Figure::new(ETCD_PUT, "changes/s"),
        Figure::new(ETCD_TXN, "changes/s"),
        Figure::new(REDIS_NX, "changes/s"),
        Figure::new(REDIS_ALWAYS, "changes/s"),
        Figure::new(CHANGES, "changes/s")
            .against(ETCD_PUT, AtLeast(50.0))
            .beside(ETCD_TXN)
            .beside(REDIS_NX)
            .beside(REDIS_ALWAYS),
        Figure::new(CHANGES_DEEP, "changes/s").goal(AtLeast(200_000.0)),
        Figure::new(P50, "µs"),
        Figure::new(P99, "µs").goal(AtMost(15_000.0)),
        Figure::new(ATTACHES, "attaches/s"),
        Figure::new(LOOK_UPS, "/s").goal(AtLeast(5e6)),
        Figure::new(LOOK_UPS_TOGETHER, "/s"),
        Figure::new(LOOK_UPS_BESIDE, "/s"),
        Figure::new(OPENS, "/s"),
        Figure::new(ROW, "bytes").goal(AtMost(120.0)),
        Figure::new(PAUSE, "ms").goal(AtMost(50.0)),
        Figure::new(SLOWEST, "ms").goal(AtMost(50.0)),
        Figure::new(SLOWEST_BEFORE, "ms"),
        Figure::new(WRITE, "s"),
        Figure::new(BYTES, "bytes"),
        Figure::new(RESTORE, "s"),
        Figure::new(FILL, "sessions/s"),
        Figure::new(LIVE_SNAPSHOT, "s"),
        Figure::new(NEWCOMER, "s"),
    ]
}

/// The peers that could be started.
struct Peers {
    etcd: Option<Etcd>,
    volatile: Option<Redis>,
    durable: Option<Redis>,
}

impl Peers {
    async fn start(report: &mut Report) -> Self {
        let mut present = |what: &str, error: Option<anyhow::Error>| {
            if let Some(error) = error {
                report.not_run(what, &format!("{error:#}"));
            }
        };
        let (etcd, error) = split(Etcd::start().await);
        present("etcd", error);
        let (volatile, error) = split(Redis::start(Durability::None).await);
        present("Redis", error);
        let (durable, error) = split(Redis::start(Durability::Always).await);
        present("Redis with appendfsync always", error);
        Self { etcd, volatile, durable }
    }

    async fn measure(&self, report: &mut Report) -> anyhow::Result<()> {
        if let Some(etcd) = &self.etcd {
            report.add(ETCD_PUT, load::rate(etcd.puts(OUTSTANDING), SAMPLE).await?);
            let transactions = etcd.transactions(OUTSTANDING / TXN_KEYS, TXN_KEYS);
            report.add(ETCD_TXN, load::rate(transactions, SAMPLE).await?);
        }
        if let Some(redis) = &self.volatile {
            report.add(REDIS_NX, load::rate(redis.callers(OUTSTANDING, 1).await?, SAMPLE).await?);
        }
        if let Some(redis) = &self.durable {
            let callers = redis.callers(OUTSTANDING / TXN_KEYS, TXN_KEYS).await?;
            report.add(REDIS_ALWAYS, load::rate(callers, SAMPLE).await?);
        }
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        self.etcd.map_or(Ok(()), Etcd::finish)?;
        self.volatile.map_or(Ok(()), Redis::finish)?;
        self.durable.map_or(Ok(()), Redis::finish)
    }
}

fn split<T>(result: anyhow::Result<T>) -> (Option<T>, Option<anyhow::Error>) {
    match result {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(error)),
    }
}

/// Changes of sessions through the batcher, beside the peers.
pub(crate) async fn changes(report: &mut Report, rounds: usize) -> anyhow::Result<()> {
    let peers = Peers::start(report).await;
    let mut registries = Registries::start().await?;
    for _ in 0..rounds {
        report.add(CHANGES, registries.rate(OUTSTANDING, SAMPLE.as_millis()).await?);
        report.add(CHANGES_DEEP, registries.rate(OUTSTANDING_DEEP, SAMPLE.as_millis()).await?);
        let (p50, p99) = registries.latency(CHANGE_RATE, CHANGE_WINDOW.as_millis()).await?;
        report.add(P50, p50);
        report.add(P99, p99);
        peers.measure(report).await?;
    }
    peers.finish()?;
    report.add(FILL, registries.fill(SESSIONS).await?);
    report.add(LIVE_SNAPSHOT, registries.snapshot().await?);
    // The log's beginning is purged by now: it gets a snapshot.
    report.add(NEWCOMER, registries.newcomer(SESSIONS - SESSIONS % FOUNDERS as u64).await?);
    registries.finish().await
}

/// Attaches as devices make them, on real nodes.
pub(crate) async fn attaches(report: &mut Report, rounds: usize) -> anyhow::Result<()> {
    // Beside another: a benchmark does not wait for tests, it says how busy the machine is.
    // What is measured is how many the nodes can attach, not how many they admit.
    let plan = ClusterPlan::of(3).beside_another().flag("connect-rate", "1000000");
    let cluster = plan.start().await?;
    let urls: Vec<String> = cluster.device_urls().into_iter().flat_map(|url| [url.clone(), url]).collect();
    for _ in 0..rounds {
        report.add(ATTACHES, attach::rate(&urls, SLOTS, SAMPLE).await?);
    }
    cluster.finish().await
}

/// The tables, in a process of their own.
pub(crate) async fn tables(report: &mut Report) -> anyhow::Result<()> {
    let mut helper = Helper::start(&["tables".to_owned(), SESSIONS.to_string()])?;
    let said: Value = serde_json::from_str(&helper.hear().await?)?;
    let number = |value: &Value| value.as_f64().context("the tables say no number");
    for (name, key) in [(LOOK_UPS, "look_ups_per_s"), (LOOK_UPS_TOGETHER, "look_ups_together_per_s")] {
        for look_ups in said[key].as_array().context("no look-ups")? {
            report.add(name, number(look_ups)?);
        }
    }
    let snapshot = &said["snapshot"];
    let figures = [
        (LOOK_UPS_BESIDE, &said["look_ups_beside_per_s"]),
        (OPENS, &said["opens_per_s"]),
        (ROW, &said["row_bytes"]),
        (PAUSE, &snapshot["pause_ms"]),
        (SLOWEST, &snapshot["slowest_batch_ms"]),
        (SLOWEST_BEFORE, &snapshot["slowest_batch_before_ms"]),
        (WRITE, &snapshot["seconds"]),
        (BYTES, &snapshot["bytes"]),
        (RESTORE, &snapshot["restore_seconds"]),
    ];
    figures.into_iter().try_for_each(|(name, value)| {
        report.add(name, number(value)?);
        anyhow::Ok(())
    })
}
