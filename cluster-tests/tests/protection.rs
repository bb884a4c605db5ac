//! Devices that are slow, that hang, that come back; and equal shares for equal devices.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use rollcall_cluster_tests::{
    AgentProcess, Api, ClusterPlan, Lab, Node, SPREAD_PATIENCE, SharedCluster, call, refusal, wait_until,
};
use rollcall_proto::api::InvokeRequest;
use tonic::Code;

static CLUSTER: SharedCluster = SharedCluster::new(|| ClusterPlan::of(3).flag("heartbeat-interval", "1s"));

fn text(group: &str, action: &str, device_id: &str, payload: &str, timeout_s: i64) -> InvokeRequest {
    let payload = Bytes::from(payload.to_owned());
    let timeout = Some(prost_types::Duration { seconds: timeout_s, nanos: 0 });
    InvokeRequest { device_id: device_id.into(), payload, timeout, ..call(group, action) }
}

/// A metric's value on a node; 0 while it is not there.
async fn metric(node: &Node, name: &str) -> anyhow::Result<f64> {
    let (_, body) = node.get("/metrics").await?;
    let line = body.lines().find(|line| line.split([' ', '{']).next() == Some(name));
    let Some(value) = line.and_then(|line| line.rsplit(' ').next()) else { return Ok(0.0) };
    value.parse().context("not a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_devices_get_equal_shares_wherever_they_are() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let mut devices = Vec::new();
    for (node, count) in cluster.nodes.iter().zip([1, 3, 6]) {
        for number in 0..count {
            let id = format!("share-{}-{number}", node.name);
            devices.push(Lab::new(&id, "share").capacity(4).attach(&[node.device_url()]).await?);
        }
    }
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let apis: Vec<Api> = cluster.nodes.iter().map(|node| node.api()).collect::<Result<_, _>>()?;
    let caller = |number: usize| {
        let api = &apis[number % 3];
        async move {
            for _ in 0..300 {
                api.call(text("share", "sleep", "", "2", 10)).await?;
            }
            anyhow::Ok(())
        }
    };
    try_join_all((0..12).map(caller)).await?;
    let counts: BTreeMap<_, _> =
        devices.iter().map(|device| (device.device_id.clone(), device.started())).collect();
    let mean = counts.values().sum::<usize>() as f64 / counts.len() as f64;
    for (device, count) in &counts {
        let off = (*count as f64 - mean).abs() / mean;
        ensure!(off <= 0.1, "{device} got {count}, {mean} on average: {counts:?}");
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_longer_than_their_deadlines_never_eject() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let holder = &cluster.nodes[0];
    let _device = Lab::new("slow", "slow").capacity(2).attach(&[holder.device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let before = metric(holder, "rollcall_device_health_calls_total").await?;
    for round in 0..8 {
        let api = cluster.nodes[round % 3].api()?;
        let calls = (0..2).map(|_| api.call(text("slow", "sleep", "slow", "20000", 1)));
        for ended in join_all(calls).await {
            let refused = refusal(ended)?;
            ensure!(refused.code == Code::DeadlineExceeded && refused.reason == "DEADLINE", "{refused:?}");
        }
    }
    let asked = metric(holder, "rollcall_device_health_calls_total").await? - before;
    ensure!(asked >= 1.0, "the timeouts raised no suspicion: the test shows nothing");
    holder.api()?.echo("slow", "slow").await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_handlers_behind_a_live_heartbeat_are_ejected_and_come_back_when_they_thaw()
-> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let holder = &cluster.nodes[1];
    let actions = ["block=block", "echo=echo"];
    let servers = [holder.device_url()];
    let _agent = AgentProcess::start(cluster.scratch(), &servers, "frozen", "frozen", &actions).await?;
    let through = cluster.nodes[0].api()?;
    wait_until("the device answers", SPREAD_PATIENCE, async || through.echo("frozen", "frozen").await)
        .await?;
    let epoch = through.device("frozen").await?.session.context("it is connected")?.epoch;

    let late = refusal(through.call(text("frozen", "block", "frozen", "16000", 1)).await)?;
    ensure!(late.reason == "DEADLINE", "{late:?}");
    wait_until("the device is ejected", Duration::from_secs(14), async || {
        let refused = refusal(through.call(text("frozen", "echo", "frozen", "x", 1)).await)?;
        ensure!(refused.reason == "DEVICE_EJECTED", "{refused:?}");
        ensure!(refused.outcome == "NOT_EXECUTED" && refused.code == Code::Unavailable, "{refused:?}");
        Ok(())
    })
    .await?;
    ensure!(metric(holder, "rollcall_devices_ejected").await? >= 1.0, "the gauge does not show it");
    ensure!(metric(holder, "rollcall_device_ejections_total").await? >= 1.0, "it was not counted");
    let session = through.device("frozen").await?.session.context("its heartbeat lives")?;
    ensure!(session.epoch == epoch, "it has reconnected: the heartbeat was not alive");

    wait_until("the device is let back", Duration::from_secs(40), async || {
        through.echo("frozen", "frozen").await
    })
    .await?;
    cluster.finish().await
}
