//! Calls that arrive: through every node, large, long, many, and never more at once than a device takes.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use rollcall_cluster_tests::{Api, ClusterPlan, Lab, LabDevice, SharedCluster, Visit, call, refusal};
use rollcall_proto::api::InvokeRequest;
use tokio::time::Instant;
use tonic::Code;

static CLUSTER: SharedCluster = SharedCluster::new(|| ClusterPlan::of(3));

/// One device on each node, `<group>-n1` and so on; every node has seen them all.
async fn one_device_a_node(cluster: &Visit<'_>, group: &str) -> anyhow::Result<Vec<LabDevice>> {
    let mut devices = Vec::new();
    for node in &cluster.nodes {
        let device = Lab::new(&format!("{group}-{}", node.name), group).attach(&[node.device_url()]).await?;
        devices.push(device);
    }
    cluster.caught_up(rollcall_cluster_tests::SPREAD_PATIENCE).await?;
    Ok(devices)
}

fn text(group: &str, action: &str, device_id: &str, payload: &str) -> InvokeRequest {
    let payload = Bytes::from(payload.to_owned());
    InvokeRequest { device_id: device_id.into(), payload, ..call(group, action) }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_reaches_every_device_by_id() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let devices = one_device_a_node(&cluster, "by-id").await?;
    let cluster_id = cluster.nodes[0].api()?.cluster().await?.cluster_id;
    for through in &cluster.nodes {
        for (device, holder) in devices.iter().zip(&cluster.nodes) {
            let answer = through.api()?.echo("by-id", &device.device_id).await?;
            ensure!(answer.node == holder.name, "{} is said to be held by {}", device.device_id, answer.node);
            ensure!(answer.attempts == 1, "{} attempts", answer.attempts);
            ensure!(answer.epoch > 0 && answer.index > 0, "no epoch or index: {answer:?}");
            ensure!(answer.cluster_id == cluster_id && !answer.request_id.is_empty(), "{answer:?}");
            let timings = answer.timings.context("no timings")?;
            ensure!(timings.total.is_some() && timings.device.is_some(), "{timings:?}");
        }
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_reaches_a_group() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let _devices = one_device_a_node(&cluster, "by-group").await?;
    for through in &cluster.nodes {
        let answer = through.api()?.echo("by-group", "").await?;
        ensure!(answer.device_id == format!("by-group-{}", answer.node), "{answer:?}");
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_choose_among_a_group() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let (hz, sh) =
        (Lab::new("hz", "labelled").label("site", "hz1"), Lab::new("sh", "labelled").label("site", "sh1"));
    let _hz = hz.attach(&[cluster.nodes[0].device_url()]).await?;
    let _sh = sh.attach(&[cluster.nodes[1].device_url()]).await?;
    cluster.caught_up(rollcall_cluster_tests::SPREAD_PATIENCE).await?;
    let at = |site: &str| InvokeRequest {
        labels: [("site".to_owned(), site.to_owned())].into(),
        ..call("labelled", "echo")
    };
    for through in &cluster.nodes {
        for _ in 0..3 {
            let answer = through.api()?.call(at("sh1")).await?;
            ensure!(answer.device_id == "sh", "{answer:?}");
        }
        let nowhere = refusal(through.api()?.call(at("moon")).await)?;
        ensure!(nowhere.reason == "NO_DEVICE", "{nowhere:?}");
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_megabyte_passes_both_ways() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let _devices = one_device_a_node(&cluster, "large").await?;
    let payload: Bytes = (0..500_000_u32).map(|at| (at * 31 + at / 256) as u8).collect::<Vec<_>>().into();
    for through in &cluster.nodes {
        for device_id in ["large-n1", "large-n2", "large-n3"] {
            let request = InvokeRequest {
                device_id: device_id.into(),
                payload: payload.clone(),
                content_type: "application/octet-stream".into(),
                ..call("large", "echo")
            };
            let answer = through.api()?.call(request).await?;
            ensure!(answer.payload == payload, "{} bytes came back changed", answer.payload.len());
            ensure!(answer.content_type == "application/octet-stream", "{}", answer.content_type);
        }
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_may_take_twenty_seconds() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let _devices = one_device_a_node(&cluster, "long").await?;
    let begun = Instant::now();
    let answer = cluster.nodes[0].api()?.call(text("long", "sleep", "long-n2", "20000")).await?;
    ensure!(answer.payload == "20000" && begun.elapsed() >= Duration::from_secs(20), "{answer:?}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_are_in_flight_to_one_agent() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let device = Lab::new("wide", "wide").capacity(1_000).attach(&[cluster.nodes[1].device_url()]).await?;
    cluster.caught_up(rollcall_cluster_tests::SPREAD_PATIENCE).await?;
    let apis: Vec<Api> = cluster.nodes.iter().map(|node| node.api()).collect::<Result<_, _>>()?;
    let calls = (0..1_000).map(|number| {
        let (api, request) = (&apis[number % 3], text("wide", "sleep", "wide", "3000"));
        async move { api.call(request).await }
    });
    let answers = try_join_all(calls).await?;
    ensure!(answers.len() == 1_000, "{} answers", answers.len());
    ensure!(device.most_at_once() == 1_000, "at most {} ran at once", device.most_at_once());
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_never_runs_more_than_its_capacity() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let device = Lab::new("narrow", "narrow").capacity(3).attach(&[cluster.nodes[2].device_url()]).await?;
    cluster.caught_up(rollcall_cluster_tests::SPREAD_PATIENCE).await?;
    let apis: Vec<Api> = cluster.nodes.iter().map(|node| node.api()).collect::<Result<_, _>>()?;
    let calls = (0..60).map(|number| apis[number % 3].call(text("narrow", "sleep", "narrow", "300")));
    let answers = futures::future::join_all(calls).await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    ensure!(device.most_at_once() == 3, "{} ran at once", device.most_at_once());
    ensure!(device.started() == done.len(), "{} started, {} were answered", device.started(), done.len());
    ensure!(done.len() >= 3, "only {} were answered", done.len());
    let mut reasons = BTreeSet::new();
    for answer in refused {
        let refused = refusal(answer)?;
        ensure!(refused.code == Code::ResourceExhausted && refused.outcome == "NOT_EXECUTED", "{refused:?}");
        reasons.insert(refused.reason);
    }
    let busy = ["DEVICE_BUSY", "QUEUE_FULL"];
    ensure!(reasons.iter().all(|reason| busy.contains(&reason.as_str())), "{reasons:?}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_may_wait_for_its_device_to_connect() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let waiting = tokio::spawn({
        let api = cluster.nodes[0].api()?;
        let connect_wait = Some(prost_types::Duration { seconds: 10, nanos: 0 });
        async move { api.call(InvokeRequest { connect_wait, ..text("patient", "echo", "patient", "x") }).await }
    });
    let device = Lab::new("patient", "patient").attach(&[cluster.nodes[1].device_url()]).await?;
    let answer = waiting.await??;
    ensure!(answer.device_id == device.device_id && answer.node == "n2", "{answer:?}");
    cluster.finish().await
}
