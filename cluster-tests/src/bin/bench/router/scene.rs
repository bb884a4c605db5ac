//! Three nodes, their devices, the yardstick and the peers, all running.

use anyhow::ensure;
use rollcall_cluster_tests::{Cluster, ClusterPlan};

use super::{
    devices, figures,
    nats::Nats,
    raw_echo,
    redis_lock::RedisLock,
    stream::{self, Expected},
    unary,
};
use crate::{children::Helper, limits, load, report::Report};

/// What is measured, and against what.
pub(crate) struct Scene {
    /// The nodes.
    pub(crate) cluster: Cluster,
    /// The API of the node that all calls enter through.
    pub(crate) entry: String,
    /// The yardstick.
    pub(crate) raw: String,
    /// NATS, if it could be started and is wanted.
    pub(crate) nats: Option<Nats>,
    /// The ancestor's dispatcher, if it could be started and is wanted.
    pub(crate) redis_lock: Option<RedisLock>,
    /// How many connections are best for each.
    pub(crate) connections: Connections,
    only: String,
    _devices: Helper,
    _raw: Helper,
}

/// How many connections callers are spread over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connections {
    pub(crate) ours: usize,
    pub(crate) streams: usize,
    pub(crate) raw: usize,
    pub(crate) nats: usize,
}

impl Scene {
    /// Builds, starts, and looks whether everything is where it should be.
    ///
    /// # Errors
    /// It is not. A peer that is not there is noted in the report.
    pub(crate) async fn start(report: &mut Report, only: &str) -> anyhow::Result<Self> {
        // Beside another: a benchmark does not wait for tests, it says how busy the machine is.
        // Devices come as fast as the nodes can take them: how many a second they would is not what is measured.
        let plan = ClusterPlan::of(3).beside_another().flag("connect-rate", "1000000");
        let cluster = plan.start().await?;
        let devices = devices::start(&cluster.device_urls()).await?;
        let (raw_process, raw) = raw_echo::start().await?;
        let entry = cluster.nodes[0].api_url();
        let mut scene = Self {
            cluster,
            entry,
            raw,
            nats: None,
            redis_lock: None,
            connections: Connections { ours: 1, streams: 1, raw: 1, nats: 1 },
            only: only.to_owned(),
            _devices: devices,
            _raw: raw_process,
        };
        scene.start_peers(report).await;
        scene.check().await?;
        scene.tune(report).await?;
        Ok(scene)
    }

    async fn start_peers(&mut self, report: &mut Report) {
        if self.wants(figures::NATS) || self.wants(figures::NATS_DEEP) {
            match Nats::start().await {
                Ok(nats) => self.nats = Some(nats),
                Err(error) => report.not_run("NATS", &format!("{error:#}")),
            }
        }
        if self.wants(figures::REDIS_LOCK) {
            match RedisLock::start().await {
                Ok(dispatcher) => {
                    let retry = dispatcher.retry();
                    report.note(format!("best pause before the Redis lock is tried again: {retry:?}"));
                    self.redis_lock = Some(dispatcher);
                }
                Err(error) => report.not_run("Redis", &format!("{error:#}")),
            }
        }
    }

    /// Whether a figure is to be measured.
    pub(crate) fn wants(&self, name: &str) -> bool {
        name.contains(&self.only)
    }

    /// The group whose devices the entry node holds.
    pub(crate) fn local(&self) -> String {
        devices::group(0)
    }

    /// The group whose devices another node holds.
    pub(crate) fn remote(&self) -> String {
        devices::group(1)
    }

    async fn check(&self) -> anyhow::Result<()> {
        self.cluster.caught_up(rollcall_cluster_tests::SPREAD_PATIENCE).await?;
        for (group, node) in [(self.local(), "n1"), (self.remote(), "n2")] {
            let mut caller = unary::UnaryCaller::new(unary::connect(&self.entry).await?, unary::echo(&group));
            let answer = caller.ask().await?;
            ensure!(answer.node == node, "a device of {group} is on {}", answer.node);
        }
        Ok(())
    }

    /// Finds the best number of connections for all sides.
    async fn tune(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let (mut ours, mut streams, mut raw, mut nats) = (Best::new(), Best::new(), Best::new(), Best::new());
        for connections in limits::CONNECTIONS {
            ours.offer(connections, unary_rate(&self.entry, &self.remote(), connections).await?);
            raw.offer(connections, unary_rate(&self.raw, "", connections).await?);
            let (request, expected) = (unary::echo(&self.remote()), Expected::Answered);
            let (in_flight, window) = (limits::PIPELINED, limits::TUNING);
            let rate = stream::rate(&self.entry, &request, expected, connections, in_flight, window).await?;
            streams.offer(connections, rate);
            if let Some(peer) = &self.nats {
                let callers = peer.callers(limits::PIPELINED, connections).await?;
                nats.offer(connections, load::rate(callers, limits::TUNING).await?);
            }
        }
        self.connections = Connections {
            ours: ours.connections,
            streams: streams.connections,
            raw: raw.connections,
            nats: nats.connections,
        };
        let Connections { ours, streams, raw, nats } = self.connections;
        report.note(format!(
            "best number of connections: {ours} to Rollcall ({streams} for InvokeStream), {raw} to the raw echo, {nats} to NATS"
        ));
        Ok(())
    }

    /// Stops everything.
    ///
    /// # Errors
    /// A node has failed meanwhile.
    pub(crate) async fn finish(self) -> anyhow::Result<()> {
        self.nats.map_or(Ok(()), Nats::finish)?;
        self.redis_lock.map_or(Ok(()), RedisLock::finish)?;
        self.cluster.finish().await
    }
}

/// The number of connections with the highest rate so far.
struct Best {
    connections: usize,
    rate: f64,
}

impl Best {
    fn new() -> Self {
        Self { connections: 1, rate: 0.0 }
    }

    fn offer(&mut self, connections: usize, rate: f64) {
        if rate > self.rate {
            *self = Self { connections, rate };
        }
    }
}

async fn unary_rate(url: &str, group: &str, connections: usize) -> anyhow::Result<f64> {
    let callers = unary::UnaryCaller::many(url, &unary::echo(group), limits::CALLERS, connections).await?;
    load::rate(callers, limits::TUNING).await
}
