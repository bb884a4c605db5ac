//! All nodes are killed while the log is being written: the replicas still agree afterwards.

use std::time::Duration;

use anyhow::ensure;
use rollcall_cluster_tests::{Cluster, HEAL_PATIENCE, RawDevice, RawProfile, SPREAD_PATIENCE, wait_until};
use rollcall_proto::api::ListDevicesRequest;
use tokio::task::JoinSet;

/// Attaches one device after another over one connection, until the node is gone.
async fn keep_attaching(url: String, name: String) -> anyhow::Result<()> {
    let mut connection = RawDevice::greet(&url).await?;
    for slot in 1.. {
        connection.attach(slot, &RawProfile::new(&format!("{name}-{slot:04}"), "churn")).await?;
    }
    Ok(())
}

/// The devices that a node knows, in order.
async fn known(cluster: &Cluster, node: &str) -> anyhow::Result<Vec<String>> {
    let request = ListDevicesRequest { group: "churn".into(), page_size: 1_000, ..Default::default() };
    let page = cluster.node(node)?.api()?.registry.list_devices(request).await?.into_inner();
    Ok(page.devices.into_iter().map(|device| format!("{} {:?}", device.device_id, device.session)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_agree_after_all_were_killed_in_the_middle_of_changes() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    for round in 0..6 {
        let mut churn = JoinSet::new();
        for node in &cluster.nodes {
            for lane in 0..2 {
                churn.spawn(keep_attaching(node.device_url(), format!("r{round}-{}-{lane}", node.name)));
            }
        }
        tokio::time::sleep(Duration::from_millis(80 + 17 * round)).await;
        cluster.nodes.iter().try_for_each(|node| node.kill9())?;
        churn.shutdown().await;
        cluster.nodes.iter().try_for_each(|node| node.start())?;
        cluster.settled(HEAL_PATIENCE).await?;
        cluster.caught_up(SPREAD_PATIENCE).await?;
        wait_until("the replicas agree", SPREAD_PATIENCE, async || {
            let first = known(&cluster, "n1").await?;
            for node in ["n2", "n3"] {
                let other = known(&cluster, node).await?;
                let differing = first.iter().zip(&other).find(|(one, other)| one != other);
                ensure!(first == other, "n1 knows {}, {node} {}: {differing:?}", first.len(), other.len());
            }
            Ok(())
        })
        .await?;
    }
    // They knew the others from their disks before they had their own place.
    for node in &cluster.nodes {
        let (_, metrics) = node.get("/metrics").await?;
        let itself = format!("rollcall_link_up{{peer=\"{}\"}}", node.name);
        ensure!(!metrics.contains(&itself), "{} has a link to itself", node.name);
        ensure!(metrics.contains("rollcall_link_up{peer="), "{} has no peers", node.name);
    }
    cluster.finish().await
}
