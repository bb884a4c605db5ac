//! What operators are told and spared: calls that failed, in the log and by group; learners that are gone.

use anyhow::{Context, ensure};
use rollcall_cluster_tests::{ClusterPlan, HEAL_PATIENCE, Lab, call, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn failed_calls_are_logged_at_a_rate_and_counted_by_group() -> anyhow::Result<()> {
    let cluster = ClusterPlan::of(1).flag("access-log-rate", "2").start().await?;
    let node = cluster.node("n1")?;
    let device = Lab::new("here", "there").attach(&[node.device_url()]).await?;
    let api = node.api()?;
    for _ in 0..20 {
        ensure!(api.call(call("nowhere", "echo")).await.is_err());
    }
    api.call(call("there", "echo")).await?;
    let output = node.output()?;
    let logged: Vec<&str> = output.lines().filter(|line| line.contains("rollcall_access")).collect();
    ensure!((2..20).contains(&logged.len()), "{} lines: {output}", logged.len());
    ensure!(
        logged[0].contains("group=\"nowhere\"") && logged[0].contains("reason=\"NO_DEVICE\""),
        "{}",
        logged[0]
    );
    ensure!(logged[0].contains("fault=\"caller\""), "{}", logged[0]);
    let (_, page) = node.get("/metrics").await?;
    for line in [
        "rollcall_group_calls_total{group=\"nowhere\",fault=\"caller\"} 20",
        "rollcall_group_calls_total{group=\"there\",fault=\"\"} 1",
    ] {
        ensure!(page.contains(line), "{line} is missing in {page}");
    }
    drop(device);
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_that_stays_away_is_removed_and_may_come_back_as_new() -> anyhow::Result<()> {
    let mut cluster = ClusterPlan::of(3).flag("learner-ttl", "2s").start().await?;
    let learner = cluster.add_node()?;
    learner.start()?;
    cluster.settled(HEAL_PATIENCE).await?;
    let one = cluster.node("n1")?;
    let id_of = async |name: &str| {
        let nodes = one.api()?.nodes().await?;
        anyhow::Ok(nodes.into_iter().find(|node| node.name == name).map(|node| node.node_id))
    };
    let before = id_of("n4").await?.context("it is no member")?;
    // A restart is shorter than that, and costs nothing.
    ensure!(learner.stop().await?.success());
    learner.start()?;
    cluster.settled(HEAL_PATIENCE).await?;
    ensure!(id_of("n4").await? == Some(before), "a restart made another node of it");

    learner.kill9()?;
    wait_until("it is removed", HEAL_PATIENCE, async || {
        ensure!(id_of("n4").await?.is_none());
        Ok(())
    })
    .await?;
    learner.start()?;
    ensure!(learner.ended(HEAL_PATIENCE).await?.success(), "it learns that it was removed");
    learner.start()?;
    cluster.settled(HEAL_PATIENCE).await?;
    ensure!(id_of("n4").await?.is_some_and(|id| id > before), "it has not joined anew");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_that_is_told_to_stop_leaves_and_a_voter_stays() -> anyhow::Result<()> {
    let mut cluster = ClusterPlan::of(3).flag("leave-on-stop", "learners").start().await?;
    let learner = cluster.add_node()?;
    learner.start()?;
    cluster.settled(HEAL_PATIENCE).await?;
    let one = cluster.node("n1")?;
    let id_of = async |name: &str| {
        let nodes = one.api()?.nodes().await?;
        anyhow::Ok(nodes.into_iter().find(|node| node.name == name).map(|node| node.node_id))
    };
    let device = Lab::new("kept", "kept").attach(&[learner.device_url(), one.device_url()]).await?;
    let before = id_of("n4").await?.context("it is no member")?;
    ensure!(learner.stop().await?.success(), "{}", learner.output()?);
    ensure!(id_of("n4").await?.is_none(), "it stopped and is a member still");
    wait_until("its device is on another node", HEAL_PATIENCE, async || {
        one.api()?.call(call("kept", "echo")).await?;
        Ok(())
    })
    .await?;
    for _ in 0..2 {
        learner.start()?;
        cluster.settled(HEAL_PATIENCE).await?;
        ensure!(id_of("n4").await?.is_some_and(|id| id > before), "it has not joined anew");
        ensure!(learner.stop().await?.success(), "{}", learner.output()?);
    }
    let archived = std::fs::read_dir(&learner.data_dir)?
        .filter_map(Result::ok)
        .any(|entry| entry.file_name().to_string_lossy().starts_with("removed-"));
    ensure!(!archived, "what nobody needs was kept");

    let voter = cluster.node("n2")?;
    let before = id_of("n2").await?;
    ensure!(voter.stop().await?.success());
    ensure!(id_of("n2").await? == before, "a voter left");
    voter.start()?;
    cluster.settled(HEAL_PATIENCE).await?;
    ensure!(id_of("n2").await? == before, "a voter came back as another node");
    device.shutdown().await;
    cluster.finish().await
}
