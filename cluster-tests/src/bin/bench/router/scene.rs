//! Three nodes, their devices and the yardstick, all running.

use anyhow::ensure;
use rollcall_cluster_tests::{Cluster, ClusterPlan};

use super::{devices, raw_echo, unary};
use crate::{children::Helper, limits, load, report::Report};

/// What is measured, and against what.
pub(crate) struct Scene {
    /// The nodes.
    pub(crate) cluster: Cluster,
    /// The API of the node that all calls enter through.
    pub(crate) entry: String,
    /// The yardstick.
    pub(crate) raw: String,
    /// How many connections are best for ours and for the yardstick.
    pub(crate) connections: Connections,
    _devices: Helper,
    _raw: Helper,
}

/// How many connections callers are spread over.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Connections {
    pub(crate) ours: usize,
    pub(crate) raw: usize,
}

impl Scene {
    /// Builds, starts, and looks whether everything is where it should be.
    ///
    /// # Errors
    /// It is not.
    pub(crate) async fn start(report: &mut Report) -> anyhow::Result<Self> {
        // Beside another: a benchmark does not wait for tests, it says how busy the machine is.
        let cluster = ClusterPlan::of(3).beside_another().start().await?;
        let devices = devices::start(&cluster.device_urls()).await?;
        let (raw_process, raw) = raw_echo::start().await?;
        let entry = cluster.nodes[0].api_url();
        let connections = Connections { ours: 1, raw: 1 };
        let mut scene = Self { cluster, entry, raw, connections, _devices: devices, _raw: raw_process };
        scene.check().await?;
        scene.tune(report).await?;
        Ok(scene)
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

    /// Finds the best number of connections for both sides.
    async fn tune(&mut self, report: &mut Report) -> anyhow::Result<()> {
        self.connections.ours = best(&self.entry, &self.remote()).await?;
        self.connections.raw = best(&self.raw, "").await?;
        let Connections { ours, raw } = self.connections;
        report.note(format!("best number of connections: {ours} to Rollcall, {raw} to the raw echo"));
        Ok(())
    }
}

async fn best(url: &str, group: &str) -> anyhow::Result<usize> {
    let mut best = (0.0, 1);
    for connections in limits::CONNECTIONS {
        let callers =
            unary::UnaryCaller::many(url, &unary::echo(group), limits::CALLERS, connections).await?;
        let rate = load::rate(callers, limits::TUNING).await?;
        if rate > best.0 {
            best = (rate, connections);
        }
    }
    Ok(best.1)
}
