//! A node's disk is full: it says so and stops, the others go on, and nothing acknowledged is lost.

use anyhow::ensure;
use rollcall_cluster_tests::{
    ClusterPlan, HEAL_PATIENCE, Lab, SPREAD_PATIENCE, Scratch, SmallDisk, wait_until,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_its_node_alone_and_loses_nothing() -> anyhow::Result<()> {
    let scratch = Scratch::new("disk")?;
    let Some(disk) = SmallDisk::mount(&scratch.path().join("small"), 64)? else {
        eprintln!("NOT RUN: a small file system cannot be mounted here");
        return scratch.discard();
    };
    let folder = scratch.path().join("small").join("n3");
    let cluster = ClusterPlan::of(3).data_dir("n3", &folder).start().await?;
    let (full, healthy) = (cluster.node("n3")?, cluster.node("n1")?);
    let servers = [healthy.device_url(), cluster.node("n2")?.device_url()];
    let first = Lab::new("before", "disk").attach(&servers).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;

    disk.fill()?;
    // Every attach is an entry of the log; the full node cannot keep them for long.
    let mut acknowledged = vec![first];
    let status = wait_until("n3 stops", HEAL_PATIENCE, async || {
        let device_id = format!("after-{}", acknowledged.len());
        acknowledged.push(Lab::new(&device_id, "disk").attach(&servers).await?);
        full.ended(std::time::Duration::from_millis(100)).await
    })
    .await?;
    ensure!(!status.success(), "it ended with {status}");
    let said = full.output()?;
    ensure!(said.contains("No space left"), "its log does not say why it stopped:\n{said}");

    let late = Lab::new("with-two", "disk").attach(&servers).await?;
    acknowledged.push(late);
    disk.relieve()?;
    full.start()?;
    cluster.settled(HEAL_PATIENCE).await?;
    cluster.caught_up(HEAL_PATIENCE).await?;
    for device in &acknowledged {
        let seen = full.api()?.device(&device.device_id).await?;
        ensure!(seen.session.is_some(), "{} is lost: {seen:?}", device.device_id);
        full.api()?.echo("disk", &device.device_id).await?;
    }
    drop(acknowledged);
    cluster.finish().await?;
    drop(disk);
    scratch.discard()
}
