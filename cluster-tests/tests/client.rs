//! The Rust client over real nodes: what it sends again when one is lost, what it never does, and its streams.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use rollcall_cluster_tests::{Cluster, ClusterPlan, Lab, Node, SPREAD_PATIENCE, SharedCluster, call};
use rollcall_proto::{
    api::{InvokeRequest, Outcome, Reason},
    client::Client,
};
use tokio::time::timeout;
use tonic::Code;

static CLUSTER: SharedCluster = SharedCluster::new(|| ClusterPlan::of(3));

fn over(nodes: &[&Arc<Node>]) -> anyhow::Result<Client> {
    Ok(Client::builder(nodes.iter().map(|node| node.api_url())).build()?)
}

fn sleep(group: &str, millis: u32) -> InvokeRequest {
    InvokeRequest { payload: Bytes::from(millis.to_string()), ..call(group, "sleep") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_lost_costs_no_call() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let (leader, one, other) = cluster.leader_and_two_others().await?;
    let _device = Lab::new("kept", "kept").capacity(50).attach(&[leader.device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let client = over(&[&one, &leader, &other])?;
    try_join_all((0..9).map(|_| client.invoke(call("kept", "echo")))).await?;
    one.kill9()?;
    for _ in 0..20 {
        client.invoke(call("kept", "echo")).await?;
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_call_whose_node_is_lost_is_found_again_and_another_is_not_sent_twice()
-> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let (leader, lost, other) = cluster.leader_and_two_others().await?;
    let device = Lab::new("once", "once").capacity(4).attach(&[leader.device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    // Each client's first call goes through the node that will be lost.
    let (idempotent, plain) = (over(&[&lost, &other])?, over(&[&lost, &other])?);
    let twice = InvokeRequest { idempotent: true, ..sleep("once", 3_000) };
    let twice = tokio::spawn(async move { idempotent.invoke(twice).await });
    let once = tokio::spawn(async move { plain.invoke(sleep("once", 3_000)).await });
    device.runs(2).await?;
    lost.kill9()?;
    let answer = timeout(2 * SPREAD_PATIENCE, twice).await.context("no answer")???;
    ensure!(answer.payload == "3000" && answer.request_id.len() == 24, "{answer:?}");
    let error =
        timeout(SPREAD_PATIENCE, once).await.context("no answer")??.err().context("it was answered")?;
    ensure!(error.outcome == Outcome::Unknown && error.reason == Reason::Unspecified, "{error:?}");
    ensure!(device.started() == 2, "{} handlers started", device.started());
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_has_a_deadline() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let device = Lab::new("due", "due").attach(&[cluster.nodes[0].device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let client = Client::builder([cluster.nodes[1].api_url()]).timeout(Duration::from_millis(500)).build()?;
    let late = client.invoke(sleep("due", 60_000)).await.err().context("it was answered")?;
    ensure!(late.code == Code::DeadlineExceeded && late.outcome == Outcome::Unknown, "{late:?}");
    ensure!(late.stage.is_some(), "the node's word on where came too late: {late:?}");
    device.runs(0).await?;
    let stream = client.stream(2).await?;
    let late = stream.call(sleep("due", 60_000)).await.err().context("it was answered")?;
    ensure!(late.reason == Reason::Deadline && late.stage.is_some(), "{late:?}");
    device.runs(0).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_keeps_to_its_credits() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let device =
        Lab::new("credited", "credited").capacity(50).attach(&[cluster.nodes[2].device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let stream = over(&[&cluster.nodes[0]])?.stream(5).await?;
    let answers = try_join_all((0..40).map(|_| stream.call(sleep("credited", 50)))).await?;
    ensure!(answers.len() == 40 && device.most_at_once() == 5, "{} ran at once", device.most_at_once());
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_dropped_stops_its_handler_and_leaves_the_others() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let device = Lab::new("dropped", "dropped").capacity(3).attach(&[cluster.nodes[1].device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let stream = over(&[&cluster.nodes[0]])?.stream(3).await?;
    let calls: Vec<_> = [60_000, 60_000, 1_500]
        .map(|millis| {
            let stream = stream.clone();
            tokio::spawn(async move { stream.call(sleep("dropped", millis)).await })
        })
        .into();
    device.runs(3).await?;
    calls[0].abort();
    calls[1].abort();
    let ended = join_all(calls).await;
    ensure!(ended[2].as_ref().is_ok_and(Result::is_ok), "{:?}", ended[2]);
    device.runs(0).await?;
    ensure!(device.dropped() == 2, "{} handlers were stopped", device.dropped());
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_node_is_lost_says_what_is_known() -> anyhow::Result<()> {
    let cluster = ClusterPlan::of(3).beside_another().start().await?;
    let (leader, lost, _) = cluster.leader_and_two_others().await?;
    let device = Lab::new("cut", "cut").capacity(4).attach(&[leader.device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let stream = over(&[&lost])?.stream(4).await?;
    let calling = {
        let stream = stream.clone();
        tokio::spawn(async move { stream.call(sleep("cut", 60_000)).await })
    };
    device.runs(1).await?;
    lost.kill9()?;
    let error = timeout(SPREAD_PATIENCE, calling).await.context("no end")??.err().context("answered")?;
    ensure!(error.outcome == Outcome::Unknown, "{error:?}");
    let after = stream.call(sleep("cut", 1)).await.err().context("answered")?;
    ensure!(after.outcome == Outcome::NotExecuted, "it never was in flight: {after:?}");
    cluster.finish().await
}
