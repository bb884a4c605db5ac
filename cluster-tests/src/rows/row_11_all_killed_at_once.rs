//! Row 11: all nodes are killed at once and started again. They recover without an operator.

use std::time::{Duration, Instant};

use futures::{FutureExt, future::join_all};

use super::{Bite, Most, Outcome, Row, Target};
use crate::{
    HEAL_PATIENCE, Lab,
    invariants::Violation,
    stage::{Ground, LoadPlan, Stage},
};

const NAP: Duration = Duration::from_millis(1_000);
/// Records without a session, which only the disks keep.
const RECORDS: usize = 5;

/// The row.
pub(super) const ROW: Row = Row {
    number: 11,
    event: "all nodes killed at once and started again",
    grounds: &[Ground::Loopback],
    bites_wanted: 5,
    targets: &[Target { sample: "ready", most: Most::Of(Duration::from_secs(10)) }],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let nodes = stage.cluster.running();
    let all: Vec<_> = stage.devices.iter().map(|device| device.device_id.clone()).collect();
    let before = nodes[0].api()?.cluster().await?;
    let records: Vec<_> =
        (0..RECORDS).map(|number| format!("record-{}-{number}", before.last_log_index)).collect();
    for name in &records {
        Lab::new(name, "records").attach(&[nodes[0].device_url()]).await?.shutdown().await;
    }
    let load = stage.load(LoadPlan::new(nodes.clone(), all.clone())).await?;
    let naps = stage.naps(&nodes[0], &all, NAP).await?;

    let killed_at = stage.journal.now();
    nodes.iter().try_for_each(|node| node.kill9())?;
    let since = Instant::now();
    nodes.iter().try_for_each(|node| node.start())?;
    stage.cluster.settled(HEAL_PATIENCE).await?;
    let ready = since.elapsed();
    join_all(naps).await;

    let mut violations = stage.judge(load).await;
    for node in &nodes {
        let after = node.api()?.cluster().await?;
        if after.cluster_id != before.cluster_id {
            violations.push(Violation::of("one_cluster", format!("{after:?} was {before:?}")));
        }
        for name in &records {
            if let Err(error) = node.api()?.device(name).await {
                violations.push(Violation::of("acknowledged_opens_kept", format!("{name}: {error:#}")));
            }
        }
    }
    let back = stage.back_after(&all, killed_at);
    let bite =
        Bite::when(back.len() == all.len(), || format!("only {} devices lost their session", back.len()));
    Ok(Outcome::new(bite, violations).measured("ready", [ready]).measured("device back", back))
}
