//! Separate processes become one cluster, from empty folders.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, ensure};
use rollcall_cluster_tests::{
    Cluster, ClusterPlan, FORM_PATIENCE, HEAL_PATIENCE, Lab, SPREAD_PATIENCE, wait_until,
};
use rollcall_proto::api::NodeRole;

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_starting_does_not_matter() -> anyhow::Result<()> {
    for order in [["n1", "n2", "n3"], ["n3", "n1", "n2"], ["n2", "n3", "n1"]] {
        let cluster = ClusterPlan::of(3).prepare().await?;
        for name in order {
            let node = cluster.node(name)?;
            node.start()?;
            // The next one starts only when this one already listens and looks for the others.
            wait_until(&format!("{name} listens"), SPREAD_PATIENCE, async || node.get("/livez").await)
                .await?;
        }
        cluster.settled(FORM_PATIENCE).await.with_context(|| format!("started in the order {order:?}"))?;
        all_are_voters_of_one_cluster(&cluster).await?;
        cluster.finish().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_founder_alone_does_not_found() -> anyhow::Result<()> {
    let cluster = ClusterPlan::of(3).prepare().await?;
    let first = cluster.node("n1")?;
    first.start()?;
    wait_until("n1 listens", SPREAD_PATIENCE, async || first.get("/livez").await).await?;
    for _ in 0..10 {
        let (status, _) = first.get("/readyz").await?;
        ensure!(status != 200, "n1 alone says that it is ready");
        let alone = first.api()?.cluster().await;
        let founded = alone.as_ref().is_ok_and(|cluster| !cluster.cluster_id.is_empty());
        ensure!(!founded, "n1 alone founded {alone:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for name in ["n2", "n3"] {
        cluster.node(name)?.start()?;
    }
    cluster.settled(FORM_PATIENCE).await?;
    all_are_voters_of_one_cluster(&cluster).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fourth_node_joins_later() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let device = Lab::new("early", "joining").attach(&[cluster.node("n1")?.device_url()]).await?;
    let fourth = cluster.add_node()?;
    fourth.start()?;
    cluster.settled(FORM_PATIENCE).await?;

    let answer = wait_until("n4 calls a device of n1", HEAL_PATIENCE, async || {
        fourth.api()?.echo("joining", "early").await
    })
    .await?;
    ensure!(answer.node == "n1", "held by {}", answer.node);
    let late = Lab::new("late", "joining").attach(&[fourth.device_url()]).await?;
    for node in cluster.running() {
        let answer = wait_until("a device of the fourth node is callable", SPREAD_PATIENCE, async || {
            node.api()?.echo("joining", "late").await
        })
        .await?;
        ensure!(answer.node == "n4", "through {}: held by {}", node.name, answer.node);
    }
    device.shutdown().await;
    late.shutdown().await;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_one_stays_ready_and_takes_devices() -> anyhow::Result<()> {
    let cluster = ClusterPlan::of(1).start().await?;
    let only = cluster.node("n1")?;
    // Beyond its lease: nobody else renews it.
    for round in 0..6 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (status, body) = only.get("/readyz").await?;
        ensure!(status == 200, "after {round} s: {status} {body}");
    }
    let device = Lab::new("only", "only").attach(&[only.device_url()]).await?;
    only.api()?.echo("only", "only").await?;
    device.shutdown().await;
    cluster.finish().await
}

async fn all_are_voters_of_one_cluster(cluster: &Cluster) -> anyhow::Result<()> {
    let (mut clusters, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for node in cluster.running() {
        let api = node.api()?;
        clusters.insert(api.cluster().await?.cluster_id);
        for seen in api.nodes().await? {
            ensure!(matches!(seen.role(), NodeRole::Leader | NodeRole::Voter), "not a voter: {seen:?}");
            ids.insert((seen.name, seen.node_id));
        }
    }
    ensure!(clusters.len() == 1 && !clusters.contains(""), "the clusters are {clusters:?}");
    ensure!(ids.len() == cluster.running().len(), "names and ids differ from node to node: {ids:?}");
    Ok(())
}
