//! Waiting for every table of pending things to be empty.

use anyhow::ensure;

use crate::{
    Cluster, SPREAD_PATIENCE,
    invariants::{Violation, tables_empty},
    wait_until,
};

/// What is still pending on the running nodes when it should have ended by now.
pub(crate) async fn pending_tables(cluster: &Cluster) -> Vec<Violation> {
    let mut last = Vec::new();
    let emptied = wait_until("nothing is pending", SPREAD_PATIENCE, async || {
        last.clear();
        for node in cluster.running() {
            let (_, page) = node.get("/metrics").await?;
            last.extend(tables_empty(&node.name, &page));
        }
        ensure!(last.is_empty(), "{last:?}");
        Ok(())
    })
    .await;
    match emptied {
        Err(error) if last.is_empty() => vec![Violation::of("tables_empty", format!("{error:#}"))],
        Ok(()) | Err(_) => last,
    }
}
