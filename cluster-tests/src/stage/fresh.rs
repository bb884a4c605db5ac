//! Calls that come one after the other whatever becomes of those before.

use std::{sync::Arc, time::Duration};

use rollcall_proto::api::InvokeRequest;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval},
};

use super::{Stage, load::ending, scene::nap};
use crate::Node;

/// Between two of them through one node.
const EVERY: Duration = Duration::from_millis(50);
const TIMEOUT: prost_types::Duration = prost_types::Duration { seconds: 5, nanos: 0 };

/// Calls that come by themselves.
#[derive(Debug)]
pub struct Fresh(Vec<JoinHandle<()>>);

impl Fresh {
    /// Waits until the last one has ended.
    pub async fn ended(self) {
        for through in self.0 {
            let _ = through.await;
        }
    }
}

impl Stage {
    /// Calls to these devices in turn, through each of these nodes, for so long.
    ///
    /// # Errors
    /// A node's address is malformed.
    pub fn fresh(
        &self,
        through: &[Arc<Node>],
        devices: &[String],
        length: Duration,
    ) -> anyhow::Result<Fresh> {
        let callers = through.iter().map(|node| {
            let (api, journal, devices) = (node.api()?, self.journal.clone(), devices.to_vec());
            let begun_at = self.journal.now();
            anyhow::Ok(tokio::spawn(async move {
                let (begun, mut calls, mut pace) = (Instant::now(), JoinSet::new(), interval(EVERY));
                pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                for (number, device) in devices.iter().cycle().enumerate() {
                    pace.tick().await;
                    if begun.elapsed() > length {
                        break;
                    }
                    let request_id = format!("fresh-{begun_at:?}-{}-{number}", api.node);
                    let call =
                        InvokeRequest { timeout: Some(TIMEOUT), ..nap(device, request_id, Duration::ZERO) };
                    let open = journal.sent(&call.request_id, device, &api.node, call.idempotent);
                    let (api, journal) = (api.clone(), journal.clone());
                    calls.spawn(async move { journal.ended(open, ending(api.call(call).await)) });
                }
                while calls.join_next().await.is_some() {}
            }))
        });
        callers.collect::<anyhow::Result<_>>().map(Fresh)
    }
}
