//! The end of a run: callers come back, everything heals, and all invariants are asked.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use rollcall_agent::AgentState;
use rollcall_proto::api::SaveSnapshotRequest;

use super::{Load, Stage, pending_tables, scene::CAPACITY};
use crate::{
    HEAL_PATIENCE, Node, SPREAD_PATIENCE,
    invariants::{self, Replica, Seen, Violation},
    wait_until,
};

impl Stage {
    /// Lets the callers come back and everything heal, then asks every invariant. What does not heal in time is a
    /// violation too.
    pub async fn judge(&self, load: Load) -> Vec<Violation> {
        load.stop().await;
        let mut found = Vec::new();
        if let Err(error) = self.healed().await {
            found.push(Violation::of("heals", format!("{error:#}")));
        }
        found.extend(invariants::of_history(&self.journal, CAPACITY as usize));
        found.extend(self.judge_rows().await);
        found.extend(pending_tables(&self.cluster).await);
        found.extend(self.judge_replicas().await);
        if let Err(error) = self.cluster.check_health() {
            found.push(Violation::of("nodes_are_well", format!("{error:#}")));
        }
        found
    }

    async fn judge_rows(&self) -> Vec<Violation> {
        let mut last = Vec::new();
        // A device that has just moved is told before the last replica knows.
        let agreed = wait_until("devices and rows agree", SPREAD_PATIENCE, async || {
            last = self.seen().await?;
            ensure!(invariants::acknowledged_opens_kept(&last).is_empty(), "{last:?}");
            Ok(())
        })
        .await;
        match agreed {
            Ok(()) => Vec::new(),
            Err(error) if last.is_empty() => {
                vec![Violation::of("acknowledged_opens_kept", format!("{error:#}"))]
            }
            Err(_) => invariants::acknowledged_opens_kept(&last),
        }
    }

    async fn seen(&self) -> anyhow::Result<Vec<Seen>> {
        let mut seen = Vec::new();
        for node in self.cluster.running() {
            let api = node.api()?;
            for device in &self.devices {
                let row = api.device(&device.device_id).await?.session.map(|session| session.epoch);
                let told = match device.state() {
                    AgentState::Attached { epoch, .. } => Some(epoch),
                    _ => None,
                };
                seen.push(Seen { by: node.name.clone(), device_id: device.device_id.clone(), told, row });
            }
        }
        Ok(seen)
    }

    /// Replicas are compared whenever two of them are at one index; all must have been at least once.
    async fn judge_replicas(&self) -> Vec<Violation> {
        let mut all = Vec::new();
        let level = wait_until("all replicas are at one index", HEAL_PATIENCE, async || {
            let mut now = BTreeMap::new();
            for node in self.cluster.running() {
                let replica = replica(&node).await?;
                now.insert(replica.index, replica.node.clone());
                all.push(replica);
            }
            ensure!(now.len() == 1, "they are at {now:?}");
            Ok(())
        })
        .await;
        let late =
            level.err().map(|error| Violation::of("replicas_equal", format!("not compared: {error:#}")));
        invariants::replicas_equal(&all).into_iter().chain(late).collect()
    }
}

/// A node's replica, by the SHA-256 that it gives a backup of it.
async fn replica(node: &Node) -> anyhow::Result<Replica> {
    let mut cluster = node.api()?.cluster;
    let mut parts = cluster.save_snapshot(SaveSnapshotRequest { stale: true }).await?.into_inner();
    let manifest = parts.message().await?.and_then(|part| part.manifest);
    let manifest = manifest.with_context(|| format!("{} gives no manifest", node.name))?;
    Ok(Replica { node: node.name.clone(), index: manifest.index, hash: manifest.sha256 })
}
