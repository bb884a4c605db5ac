//! Nodes of another cluster are kept out, whichever way they come.

use anyhow::{Context, ensure};
use rollcall_cluster_tests::{
    Cli, Cluster, ClusterPlan, HEAL_PATIENCE, Lab, SPREAD_PATIENCE, Scratch, wait_until,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_another_cluster_cannot_come_in() -> anyhow::Result<()> {
    let ours = Cluster::start(3).await?;
    let theirs = ClusterPlan::of(1).beside_another().start().await?;
    let _device = Lab::new("ours", "ours").attach(&[ours.nodes[0].device_url()]).await?;
    ours.caught_up(SPREAD_PATIENCE).await?;
    let before = ours.nodes[0].api()?.nodes().await?.len();

    // It is told to join us, with the folder of its own cluster.
    let stranger = theirs.node("n1")?;
    stranger.kill9()?;
    let mut arguments = stranger.arguments();
    for (flag, value) in [("--join", ours.founders()?), ("--bootstrap-expect", "0".to_owned())] {
        if let Some(at) = arguments.iter().position(|argument| argument == flag) {
            arguments[at + 1] = value.into();
        }
    }
    let scratch = Scratch::new("stranger")?;
    let mut process = Cli::new().await?.start("stranger", &arguments, &scratch)?;
    // It either refuses to start, or goes on as the cluster that it is.
    wait_until("the stranger has made up its mind", HEAL_PATIENCE, async || {
        if process.ended()?.is_some() {
            return Ok(());
        }
        let cluster = stranger.api()?.cluster().await?;
        ensure!(!cluster.leader.is_empty(), "{cluster:?}");
        ensure!(
            cluster.cluster_id != ours.nodes[0].api()?.cluster().await?.cluster_id,
            "it became one of us: {cluster:?}"
        );
        Ok(())
    })
    .await?;
    let after = ours.nodes[0].api()?.nodes().await?;
    ensure!(after.len() == before, "we now have {after:?}");
    ours.settled(SPREAD_PATIENCE).await?;
    ours.nodes[2].api()?.echo("ours", "ours").await?;
    drop(process);
    scratch.discard()?;
    theirs.finish().await?;
    ours.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_at_the_address_of_a_lost_node_is_not_taken_for_it() -> anyhow::Result<()> {
    let ours = Cluster::start(3).await?;
    let theirs = ClusterPlan::of(1).beside_another().start().await?;
    // The stranger, founded elsewhere, comes back where one of ours was: under its name, and with the same node id.
    let stranger = theirs.node("n1")?;
    let foreign_id = stranger.api()?.cluster().await?.cluster_id;
    let number = stranger.api()?.nodes().await?[0].node_id;
    let ours_by_number = ours.nodes[0].api()?.nodes().await?;
    let namesake =
        ours_by_number.iter().find(|node| node.node_id == number).context("ours has no such id")?;
    let lost = ours.node(&namesake.name)?;
    let other = ours.nodes.iter().find(|node| node.name != lost.name).context("no other node")?;
    let _device = Lab::new("ours", "ours").attach(&[other.device_url()]).await?;
    ours.caught_up(SPREAD_PATIENCE).await?;
    stranger.kill9()?;
    lost.kill9()?;
    let mut arguments = lost.arguments();
    for (flag, value) in [
        ("--data-dir", stranger.data_dir.clone().into_os_string()),
        ("--join", stranger.peer_addr().into()),
        ("--bootstrap-expect", "1".into()),
        ("--name", stranger.name.clone().into()),
    ] {
        if let Some(at) = arguments.iter().position(|argument| argument == flag) {
            arguments[at + 1] = value;
        }
    }
    let scratch = Scratch::new("stranger")?;
    let mut process = Cli::new().await?.start("stranger", &arguments, &scratch)?;
    let theirs_here = lost.api()?;
    wait_until("the stranger serves at our address, or has refused to", HEAL_PATIENCE, async || {
        if process.ended()?.is_some() {
            return Ok(());
        }
        let cluster = theirs_here.cluster().await?;
        ensure!(cluster.cluster_id == foreign_id, "{cluster:?}");
        Ok(())
    })
    .await?;
    // We go on with two of three, and call nobody there.
    ours.leader(HEAL_PATIENCE).await?;
    let late = Lab::new("late", "ours").attach(&[other.device_url()]).await?;
    for node in ours.running() {
        wait_until("the new device is callable", SPREAD_PATIENCE, async || {
            node.api()?.echo("ours", "late").await
        })
        .await?;
    }
    if process.ended()?.is_none() {
        let cluster = theirs_here.cluster().await?;
        ensure!(cluster.cluster_id == foreign_id && cluster.devices == 0, "our log reached it: {cluster:?}");
    }
    drop(process);
    lost.start()?;
    ours.settled(HEAL_PATIENCE).await?;
    late.shutdown().await;
    scratch.discard()?;
    theirs.finish().await?;
    ours.finish().await
}
