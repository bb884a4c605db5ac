//! What three nodes use: processor time from start to end, and the most memory that they held together.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use rollcall_cluster_tests::{Cluster, Node};
use tokio::{task::JoinHandle, time::Instant};

use crate::router::memory;

/// An account that is being kept.
pub(super) struct Account {
    nodes: Vec<Arc<Node>>,
    begun: Instant,
    ticks: u64,
    most: JoinHandle<()>,
    seen: Arc<parking_lot::Mutex<f64>>,
}

/// Linux counts processor time for programs in hundredths, whatever its own clock does.
const TICKS_PER_SECOND: f64 = 100.0;
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(500);

impl Account {
    /// Begins.
    ///
    /// # Errors
    /// A node does not run.
    pub(super) fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        let (nodes, seen) = (cluster.nodes.clone(), Arc::new(parking_lot::Mutex::new(0.0)));
        let (watched, most) = (nodes.clone(), Arc::clone(&seen));
        let most = tokio::spawn(async move {
            loop {
                let now: f64 = watched.iter().filter_map(|node| memory::of(node).ok()).sum();
                {
                    let mut most = most.lock();
                    *most = f64::max(*most, now);
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Ok(Self { begun: Instant::now(), ticks: ticks(&nodes)?, nodes, most, seen })
    }

    /// Ends: processor time as a part of one core's, and bytes.
    ///
    /// # Errors
    /// A node has ended.
    pub(super) async fn finish(self) -> anyhow::Result<(f64, f64)> {
        self.most.abort();
        let used = (ticks(&self.nodes)? - self.ticks) as f64 / TICKS_PER_SECOND;
        let most = *self.seen.lock();
        Ok((used / self.begun.elapsed().as_secs_f64(), most))
    }
}

fn ticks(nodes: &[Arc<Node>]) -> anyhow::Result<u64> {
    let mut all = 0;
    for node in nodes {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.pid()?))?;
        let (_, fields) = stat.rsplit_once(')').context("no such format")?;
        let field = |at: usize| fields.split_whitespace().nth(at).and_then(|text| text.parse::<u64>().ok());
        // User and system time, the 14th and 15th field of all.
        all += field(11).zip(field(12)).map(|(user, system)| user + system).context("no processor time")?;
    }
    Ok(all)
}
