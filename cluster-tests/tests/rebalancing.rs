//! Devices that are moved from a node that has many to those that have few.

use anyhow::ensure;
use rollcall_cluster_tests::{
    Cli, Cluster, ClusterPlan, HEAL_PATIENCE, Lab, LabDevice, Node, SPREAD_PATIENCE, call, wait_until,
};
use serde_json::Value;

const DEVICES: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn surplus_devices_move_to_the_others_and_no_call_fails() -> anyhow::Result<()> {
    let cluster = ClusterPlan::of(3).advertised().start().await?;
    let one = cluster.node("n1")?;
    let devices = crowd(&cluster).await?;
    let planned = rebalance(&one, &["--dry-run"]).await?;
    ensure!(
        column(&planned, "before") == [30, 0, 0] && column(&planned, "surplus") == [20, 0, 0],
        "{planned}"
    );
    ensure!(column(&planned, "after") == [30, 0, 0], "a dry run has moved somebody: {planned}");

    let api = one.api()?;
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let calling = tokio::spawn(async move {
        let mut calls = 0;
        while !*stopped.borrow_and_update() {
            api.call(call("crowd", "echo")).await?;
            calls += 1;
        }
        anyhow::Ok(calls)
    });
    let moved = rebalance(&one, &["--rate", "10"]).await?;
    stop.send_replace(true);
    let calls: u64 = calling.await??;
    ensure!(calls > 20, "only {calls} calls were made, so nothing was shown");
    ensure!(column(&moved, "after").iter().all(|held| *held <= 12), "{moved}");
    even(&one).await?;
    let again = rebalance(&one, &[]).await?;
    ensure!(column(&again, "surplus") == [0, 0, 0], "{again}");
    drop(devices);
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_gives_devices_away_by_itself_where_it_is_told_to() -> anyhow::Result<()> {
    let cluster = ClusterPlan::of(3)
        .advertised()
        .flag("rebalance", "auto")
        .flag("rebalance-rate", "20")
        .start()
        .await?;
    let devices = crowd(&cluster).await?;
    let one = cluster.node("n1")?;
    even(&one).await?;
    drop(devices);
    cluster.finish().await
}

/// Devices that know all nodes, and begin at the first.
async fn crowd(cluster: &Cluster) -> anyhow::Result<Vec<LabDevice>> {
    let mut devices = Vec::new();
    for number in 0..DEVICES {
        let lab = Lab::new(&format!("crowd-{number}"), "crowd").capacity(4);
        devices.push(lab.attach(&cluster.device_urls()).await?);
    }
    cluster.caught_up(SPREAD_PATIENCE).await?;
    Ok(devices)
}

async fn rebalance(node: &Node, more: &[&str]) -> anyhow::Result<Value> {
    let addr = node.api_url();
    let all = [&["rebalance", "--output", "json", "--addr", &addr], more].concat();
    Cli::new().await?.run(&all).await?.json()
}

fn column(answer: &Value, name: &str) -> Vec<u64> {
    let nodes = answer["nodes"].as_array().cloned().unwrap_or_default();
    nodes.iter().map(|node| node[name].as_u64().unwrap_or_default()).collect()
}

/// Waits until no node has a fifth more than its share, and everybody is there.
async fn even(node: &Node) -> anyhow::Result<()> {
    wait_until("each node has a share, and everybody is there", 2 * HEAL_PATIENCE, async || {
        let nodes = node.api()?.nodes().await?;
        let held: Vec<u64> = nodes.iter().map(|node| node.sessions).collect();
        ensure!(held.iter().sum::<u64>() == DEVICES as u64, "{held:?}");
        ensure!(held.iter().all(|held| *held <= 12), "{held:?}");
        Ok(())
    })
    .await
}
