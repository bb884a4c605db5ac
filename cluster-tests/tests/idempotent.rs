//! Idempotent calls over real processes: executed once, whatever is killed between the caller and the device.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use bytes::Bytes;
use rollcall_cluster_tests::{Cluster, ClusterPlan, Lab, LabDevice, Node, SPREAD_PATIENCE, call, refusal};
use rollcall_proto::api::{InvokeRequest, InvokeResponse};
use tokio::task::JoinHandle;
use tonic::{Code, Status};

/// A call to a device that takes so many milliseconds, under this request id.
fn nap(device: &str, request_id: &str, millis: &str) -> InvokeRequest {
    InvokeRequest {
        device_id: device.into(),
        request_id: request_id.into(),
        idempotent: true,
        payload: Bytes::from(millis.to_owned()),
        ..call("once", "sleep")
    }
}

fn invoke(
    through: &Node,
    request: InvokeRequest,
) -> anyhow::Result<JoinHandle<Result<InvokeResponse, Status>>> {
    let api = through.api()?;
    Ok(tokio::spawn(async move { api.call(request).await }))
}

/// A device of one of these nodes; with it the node that holds it, and the other one.
async fn device_on_one_of(
    one: &Arc<Node>,
    other: &Arc<Node>,
    cluster: &Cluster,
) -> anyhow::Result<(LabDevice, Arc<Node>, Arc<Node>)> {
    let device = Lab::new("once", "once").capacity(4).attach(&[one.device_url(), other.device_url()]).await?;
    let (holder, _) = device.attached(SPREAD_PATIENCE).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let pair = if holder == one.name { (one, other) } else { (other, one) };
    Ok((device, Arc::clone(pair.0), Arc::clone(pair.1)))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_id_through_all_nodes_is_one_execution() -> anyhow::Result<()> {
    let cluster = ClusterPlan::of(3).start().await?;
    let device = Lab::new("once", "once").capacity(4).attach(&[cluster.nodes[1].device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let mut calls = Vec::new();
    for node in cluster.nodes.iter().chain(&cluster.nodes) {
        calls.push(invoke(node, nap("once", "r-1", "1000"))?);
    }
    for answer in calls {
        ensure!(answer.await??.payload == "1000");
    }
    let again = cluster.nodes[2].api()?.call(nap("once", "r-1", "1000")).await?;
    ensure!(again.payload == "1000", "{again:?}");
    ensure!(device.started() == 1, "{} handlers started", device.started());
    let other = refusal(cluster.nodes[0].api()?.call(nap("once", "r-1", "2")).await)?;
    ensure!(other.brief() == (Code::AlreadyExists, "REQUEST_ID_CONFLICT", "NOT_EXECUTED"), "{other:?}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_node_was_killed_is_found_again_through_another() -> anyhow::Result<()> {
    let cluster = ClusterPlan::of(3).start().await?;
    let (leader, caller, _) = cluster.leader_and_two_others().await?;
    let device = Lab::new("once", "once").capacity(4).attach(&[leader.device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let lost = invoke(&caller, nap("once", "r-1", "4000"))?;
    device.runs(1).await?;
    caller.kill9()?;
    ensure!(lost.await?.is_err(), "an answer through a node that was killed");
    let other =
        cluster.running().into_iter().find(|node| node.name != leader.name).context("no third node")?;
    let answer = other.api()?.call(nap("once", "r-1", "4000")).await?;
    ensure!(answer.payload == "4000", "{answer:?}");
    ensure!(device.started() == 1 && device.dropped() == 0, "{} started", device.started());
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_holder_was_killed_is_answered_by_the_execution_that_runs() -> anyhow::Result<()> {
    let cluster = ClusterPlan::of(3).start().await?;
    let (leader, one, other) = cluster.leader_and_two_others().await?;
    let (device, holder, heir) = device_on_one_of(&one, &other, &cluster).await?;
    let waiting = invoke(&leader, nap("once", "r-1", "6000"))?;
    device.runs(1).await?;
    holder.kill9()?;
    let answer = tokio::time::timeout(Duration::from_secs(20), waiting).await.context("no answer")???;
    ensure!(answer.payload == "6000" && answer.node == heir.name, "{answer:?}");
    ensure!(answer.attempts > 1, "{} attempts", answer.attempts);
    ensure!(device.started() == 1 && device.dropped() == 0, "{} started", device.started());
    cluster.finish().await
}
