//! A cluster that the tests of one file share, because they only read it or keep to devices of their own.

use std::ops::Deref;

use tokio::sync::OnceCell;

use crate::{Cluster, ClusterPlan};

/// A cluster in a static: started by the first test that visits it, ended with the process.
#[derive(Debug)]
pub struct SharedCluster {
    cluster: OnceCell<Cluster>,
    plan: fn() -> ClusterPlan,
}

impl SharedCluster {
    /// A cluster that will be started by this plan.
    pub const fn new(plan: fn() -> ClusterPlan) -> Self {
        Self { cluster: OnceCell::const_new(), plan }
    }

    /// Visits the cluster; starts it if this is the first visit.
    ///
    /// # Errors
    /// See [`ClusterPlan::start`].
    pub async fn visit(&self) -> anyhow::Result<Visit<'_>> {
        let start = || async {
            let cluster = (self.plan)().start().await?;
            cluster.discard_at_exit();
            anyhow::Ok(cluster)
        };
        let cluster = self.cluster.get_or_try_init(start).await?;
        Ok(Visit { cluster, finished: false })
    }
}

/// One test's use of a shared cluster. Dropped without [`Visit::finish`], the cluster's logs and data are kept.
#[derive(Debug)]
pub struct Visit<'a> {
    cluster: &'a Cluster,
    finished: bool,
}

impl Visit<'_> {
    /// The test has passed: checks that no node ended by itself or panicked.
    ///
    /// # Errors
    /// Which one, with the end of its log.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        self.cluster.check_health()?;
        self.finished = true;
        Ok(())
    }
}

impl Deref for Visit<'_> {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.cluster
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.cluster.scratch().keep();
        }
    }
}
