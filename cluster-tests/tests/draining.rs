//! A node that is about to stop says so: the others see it, and give it no new work while there is another.

use anyhow::{Context, ensure};
use bytes::Bytes;
use rollcall_cluster_tests::{Cli, ClusterPlan, HEAL_PATIENCE, Lab, SPREAD_PATIENCE, call, wait_until};
use rollcall_proto::api::{InvokeRequest, NodeState};

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_node_says_so_and_gets_no_new_work() -> anyhow::Result<()> {
    let cluster = ClusterPlan::of(3).flag("drain-grace", "8s").start().await?;
    let (_, leaving, other) = cluster.leader_and_two_others().await?;
    let third = cluster.leader(SPREAD_PATIENCE).await?;
    // It cannot move: the only node that it knows is the one that stops.
    let busy = Lab::new("busy", "drained").capacity(8).attach(&[leaving.device_url()]).await?;
    let free = Lab::new("free", "drained").capacity(8).attach(&[other.device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let payload = Bytes::from_static(b"4000");
    let long = InvokeRequest { device_id: "busy".into(), payload, ..call("drained", "sleep") };
    let api = third.api()?;
    let running = tokio::spawn(async move { api.call(long).await });
    busy.runs(1).await?;

    let story = async {
        wait_until("the others see it drain", SPREAD_PATIENCE, async || {
            for node in [&third, &other] {
                let nodes = node.api()?.nodes().await?;
                let seen = nodes.iter().find(|seen| seen.name == leaving.name).context("it is no member")?;
                ensure!(seen.state() == NodeState::Draining, "{} sees {seen:?}", node.name);
            }
            Ok(())
        })
        .await?;
        let listed = Cli::new().await?.run(&["nodes", "list", "--addr", &third.api_url()]).await?;
        ensure!(listed.stdout.contains("draining"), "{listed:?}");
        for _ in 0..20 {
            let answer = third.api()?.call(call("drained", "echo")).await?;
            ensure!(answer.node == other.name, "new work for {}", answer.node);
        }
        ensure!(busy.running() == 1, "the call in flight has ended early, so nothing was shown");
        let answer = running.await?.context("a call in flight is let finish")?;
        ensure!(answer.device_id == "busy");
        anyhow::Ok(())
    };
    let (status, told) = tokio::join!(leaving.stop(), story);
    told?;
    let status = status?;
    ensure!(status.success(), "it ended with {status}");

    leaving.start()?;
    cluster.settled(HEAL_PATIENCE).await?;
    drop((busy, free));
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_drains_without_a_quorum_still_ends_within_its_grace() -> anyhow::Result<()> {
    let cluster = ClusterPlan::of(3).flag("drain-grace", "3s").start().await?;
    let last = cluster.node("n2")?;
    let device = Lab::new("own", "own").attach(&[last.device_url()]).await?;
    for name in ["n1", "n3"] {
        cluster.node(name)?.kill9()?;
    }
    let payload = Bytes::from_static(b"1000");
    let short = InvokeRequest { device_id: "own".into(), payload, ..call("own", "sleep") };
    let api = last.api()?;
    let running = tokio::spawn(async move { api.call(short).await });
    device.runs(1).await?;
    let status = last.stop().await?;
    ensure!(status.success(), "it ended with {status}");
    running.await?.context("a call in flight is let finish")?;
    cluster.finish().await
}
