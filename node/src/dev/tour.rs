//! One call through every node, to a device that another node holds.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use rollcall_proto::api::{InvokeRequest, Timings, invoke_service_client::InvokeServiceClient};

use super::{
    demo_devices::GROUP,
    formation::channel,
    layout::{Layout, Place},
    limits,
    picture::Overview,
};

/// A call that was made.
#[derive(Debug)]
pub(super) struct Made {
    /// The nodes it passed, and the device.
    pub(super) route: Vec<String>,
    /// What came back.
    pub(super) reply: String,
    /// From here to the device and back.
    pub(super) took: Duration,
    /// Where the time went.
    pub(super) timings: Timings,
}

/// Calls, and checks that each answer came from the device and by the node that the registry names.
pub(super) async fn call_through_every_node(
    layout: &Layout,
    overview: &Overview,
) -> anyhow::Result<Vec<Made>> {
    let mut made = Vec::new();
    for node in &layout.nodes {
        let (device_id, holder) = overview
            .held_after(&node.name)
            .with_context(|| format!("no device is attached to the node after {}", node.name))?;
        made.push(call(node, device_id, holder).await?);
    }
    Ok(made)
}

async fn call(node: &Place, device_id: &str, holder: &str) -> anyhow::Result<Made> {
    let mut client = InvokeServiceClient::new(channel(node)?);
    let payload = Bytes::from(format!("hello from {}", node.name));
    // The first use of a connection dials it; that is not the call's time.
    client.invoke(echo(device_id, Bytes::new())).await.ok();
    let begun = Instant::now();
    let answer = client.invoke(echo(device_id, payload.clone())).await;
    let took = begun.elapsed();
    let answer =
        answer.with_context(|| format!("the call through {} to {device_id}", node.name))?.into_inner();
    ensure!(answer.payload == payload, "{device_id} echoed {:?}", answer.payload);
    ensure!(answer.device_id == device_id, "{} answered for {device_id}", answer.device_id);
    ensure!(answer.node == holder, "{device_id} answered by {}, the registry says {holder}", answer.node);
    let mut route = vec![node.name.clone(), answer.node, answer.device_id];
    route.dedup();
    let reply = String::from_utf8_lossy(&answer.payload).into_owned();
    Ok(Made { route, reply, took, timings: answer.timings.unwrap_or_default() })
}

fn echo(device_id: &str, payload: Bytes) -> tonic::Request<InvokeRequest> {
    let mut request = tonic::Request::new(InvokeRequest {
        group: GROUP.into(),
        action: "echo".into(),
        device_id: device_id.into(),
        payload,
        ..Default::default()
    });
    request.set_timeout(limits::CALL_PATIENCE);
    request
}
