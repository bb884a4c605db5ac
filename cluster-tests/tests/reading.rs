//! What can be read, and watched: devices, groups, nodes, changes, health, metrics, reflection.

use std::collections::BTreeSet;

use anyhow::{Context, bail, ensure};
use rollcall_cluster_tests::{
    Cluster, ClusterPlan, Lab, RawDevice, RawProfile, SPREAD_PATIENCE, SharedCluster, call, wait_until,
};
use rollcall_proto::api::{
    Consistency, DeviceEventKind, ExplainRouteRequest, GetDeviceRequest, ListDevicesRequest,
    ListGroupsRequest, ListNodesRequest, WatchDevicesRequest, WatchDevicesResponse,
};
use tokio::time::timeout;
use tonic::{Code, Streaming};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

static CLUSTER: SharedCluster = SharedCluster::new(|| ClusterPlan::of(3));

/// Attaches so many devices over one connection to the first node.
async fn attach_many(cluster: &Cluster, group: &str, count: u32) -> anyhow::Result<RawDevice> {
    let mut connection = RawDevice::greet(&cluster.nodes[0].device_url()).await?;
    for slot in 1..=count {
        connection.attach(slot, &RawProfile::new(&format!("{group}-{slot:03}"), group)).await?;
    }
    cluster.caught_up(SPREAD_PATIENCE).await?;
    Ok(connection)
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_listed_page_by_page_through_every_node() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let _connection = attach_many(&cluster, "paged", 25).await?;
    let expected: Vec<_> = (1..=25).map(|slot| format!("paged-{slot:03}")).collect();
    for node in &cluster.nodes {
        let mut api = node.api()?;
        let (mut seen, mut sizes, mut page_token) = (Vec::new(), Vec::new(), String::new());
        loop {
            let request =
                ListDevicesRequest { group: "paged".into(), page_size: 10, page_token, ..Default::default() };
            let page = api.registry.list_devices(request).await?.into_inner();
            ensure!(page.index > 0 && !page.cluster_id.is_empty(), "no index or cluster: {page:?}");
            sizes.push(page.devices.len());
            seen.extend(page.devices.into_iter().map(|device| device.device_id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        ensure!(seen == expected, "{}: {seen:?}", node.name);
        ensure!(sizes == [10, 10, 5], "{}: {sizes:?}", node.name);
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_choose_among_devices() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let _one =
        Lab::new("f-1", "filtered").label("site", "a").attach(&[cluster.nodes[0].device_url()]).await?;
    let _two =
        Lab::new("f-2", "filtered").label("site", "b").attach(&[cluster.nodes[1].device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let group = || ListDevicesRequest { group: "filtered".into(), ..Default::default() };
    let labels = [("site".to_owned(), "b".to_owned())].into();
    let asked = [
        (group(), vec!["f-1", "f-2"]),
        (ListDevicesRequest { node: "n1".into(), ..group() }, vec!["f-1"]),
        (ListDevicesRequest { labels, ..group() }, vec!["f-2"]),
        (ListDevicesRequest { group: "none-such".into(), ..Default::default() }, vec![]),
    ];
    for (request, expected) in asked {
        let page = cluster.nodes[2].api()?.registry.list_devices(request.clone()).await?.into_inner();
        let seen: Vec<_> = page.devices.iter().map(|device| device.device_id.as_str()).collect();
        ensure!(seen == expected, "{request:?} gave {seen:?}");
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_page_is_refused() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let request = ListDevicesRequest { page_size: 1_001, ..Default::default() };
    let answer = cluster.nodes[0].api()?.registry.list_devices(request).await;
    ensure!(answer.as_ref().is_err_and(|status| status.code() == Code::InvalidArgument), "{answer:?}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_listed_with_their_counts() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let _connection = attach_many(&cluster, "counted", 4).await?;
    for node in &cluster.nodes {
        let groups =
            node.api()?.registry.list_groups(ListGroupsRequest::default()).await?.into_inner().groups;
        let group = groups.iter().find(|group| group.name == "counted").context("the group is missing")?;
        ensure!(group.connected == 4 && group.capacity == 4, "{}: {group:?}", node.name);
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_may_ask_for_what_was_just_acknowledged() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    for round in 0..10 {
        let device_id = format!("fresh-{round}");
        let device = Lab::new(&device_id, "fresh").attach(&[cluster.nodes[round % 3].device_url()]).await?;
        for node in &cluster.nodes {
            let request = GetDeviceRequest {
                device_id: device_id.clone(),
                consistency: Consistency::Linearizable.into(),
                ..Default::default()
            };
            let seen =
                node.api()?.registry.get_device(request).await?.into_inner().device.unwrap_or_default();
            ensure!(seen.session.is_some(), "{} does not see {device_id}: {seen:?}", node.name);
        }
        device.shutdown().await;
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_by_a_minimal_index_sees_what_happened_up_to_it() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let _device = Lab::new("indexed", "indexed").attach(&[cluster.nodes[0].device_url()]).await?;
    let request = GetDeviceRequest { device_id: "indexed".into(), ..Default::default() };
    let index = cluster.nodes[0].api()?.registry.get_device(request).await?.into_inner().index;
    for node in &cluster.nodes {
        let mut request = call("indexed", "echo");
        request.min_index = index;
        let answer = node.api()?.call(request).await?;
        ensure!(answer.index >= index, "routed by {} instead of {index}", answer.index);
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_device_is_not_found() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let request = GetDeviceRequest { device_id: "none-such".into(), ..Default::default() };
    let answer = cluster.nodes[0].api()?.registry.get_device(request).await;
    ensure!(answer.as_ref().is_err_and(|status| status.code() == Code::NotFound), "{answer:?}");
    cluster.finish().await
}

async fn next_change(changes: &mut Streaming<WatchDevicesResponse>) -> anyhow::Result<WatchDevicesResponse> {
    let change = timeout(SPREAD_PATIENCE, changes.message()).await.context("no change comes")??;
    change.context("the watch ended")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_every_change_and_goes_on_from_its_cursor() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let request = WatchDevicesRequest { group: "watched".into(), ..Default::default() };
    let mut changes = cluster.nodes[1].api()?.registry.watch_devices(request.clone()).await?.into_inner();
    let first = next_change(&mut changes).await?;
    ensure!(first.kind() == DeviceEventKind::Unspecified && first.cursor.is_some(), "{first:?}");

    let mut told = Vec::new();
    for round in 0..3 {
        let device = Lab::new("watched", "watched").attach(&[cluster.nodes[round].device_url()]).await?;
        told.push(next_change(&mut changes).await?);
        device.shutdown().await;
        told.push(next_change(&mut changes).await?);
    }
    let kinds: Vec<_> = told.iter().map(WatchDevicesResponse::kind).collect();
    let round = [DeviceEventKind::Connected, DeviceEventKind::Disconnected];
    ensure!(kinds == [round; 3].concat(), "{kinds:?}");

    // Another node, from the cursor of the second change on: exactly the other four.
    let after = told[1].cursor.clone();
    let mut rest = cluster.nodes[2]
        .api()?
        .registry
        .watch_devices(WatchDevicesRequest { after, ..request })
        .await?
        .into_inner();
    let mut again = Vec::new();
    while again.len() < 4 {
        let change = next_change(&mut rest).await?;
        if change.kind() != DeviceEventKind::Unspecified {
            again.push(change);
        }
    }
    let cursors = |changes: &[WatchDevicesResponse]| -> Vec<_> {
        changes.iter().map(|change| (change.kind(), change.cursor.clone())).collect()
    };
    ensure!(cursors(&again) == cursors(&told[2..]), "gaps or duplicates: {again:?}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_another_cluster_is_refused() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let cursor =
        rollcall_proto::api::WatchCursor { cluster_id: "f".repeat(32), index: 1, ..Default::default() };
    let request = WatchDevicesRequest { after: Some(cursor), ..Default::default() };
    let refused = match cluster.nodes[0].api()?.registry.watch_devices(request).await {
        Ok(mut changes) => changes.get_mut().message().await.err(),
        Err(status) => Some(status),
    };
    let code = refused.as_ref().map(tonic::Status::code);
    ensure!(code == Some(Code::OutOfRange) || code == Some(Code::InvalidArgument), "{refused:?}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_explained_up_to_where_it_breaks() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let _device = Lab::new("explained", "explained").attach(&[cluster.nodes[1].device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let explain = |device_id: &str| ExplainRouteRequest { device_id: device_id.into(), ..Default::default() };
    let route = wait_until("n1 explains the way", SPREAD_PATIENCE, async || {
        let route = cluster.nodes[0].api()?.registry.explain_route(explain("explained")).await?.into_inner();
        ensure!(route.reachable, "{route:?}");
        Ok(route)
    })
    .await?;
    ensure!(route.from == "n1" && route.steps.iter().all(|step| step.ok), "{route:?}");
    let missing = cluster.nodes[0].api()?.registry.explain_route(explain("missing")).await?.into_inner();
    ensure!(!missing.reachable && missing.steps.last().is_some_and(|step| !step.ok), "{missing:?}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_listed_in_the_order_of_their_names() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let (mut names, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListNodesRequest { page_size: 2, page_token };
        let page = cluster.nodes[2].api()?.cluster.list_nodes(request).await?.into_inner();
        names.extend(page.nodes.into_iter().map(|node| node.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    ensure!(names == ["n1", "n2", "n3"], "{names:?}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn health_answers_over_grpc_and_http() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    for node in &cluster.nodes {
        let mut health = HealthClient::new(node.api()?.channel);
        for service in ["", "rollcall.v1.InvokeService"] {
            let request = HealthCheckRequest { service: service.into() };
            let status = health.check(request).await?.into_inner().status();
            ensure!(status == ServingStatus::Serving, "{} of {service:?} is {status:?}", node.name);
        }
        let unknown = health.check(HealthCheckRequest { service: "none.such".into() }).await;
        ensure!(unknown.as_ref().is_err_and(|status| status.code() == Code::NotFound), "{unknown:?}");
        for path in ["/livez", "/readyz"] {
            let (status, body) = node.get(path).await?;
            ensure!(status == 200, "{} {path}: {status} {body}", node.name);
        }
        ensure!(node.get("/none-such").await?.0 == 404, "an unknown path is there");
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_there_and_count_calls() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let _device = Lab::new("measured", "measured").attach(&[cluster.nodes[0].device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    cluster.nodes[1].api()?.echo("measured", "measured").await?;
    let (status, body) = cluster.nodes[1].get("/metrics").await?;
    ensure!(status == 200, "{status}");
    for name in ["grpc_server_handled_total", "rollcall_calls_total", "rollcall_build_info"] {
        ensure!(body.contains(name), "{name} is missing in:\n{body}");
    }
    let handled = r#"grpc_method="Invoke""#;
    ensure!(body.contains(handled), "{handled} is missing in:\n{body}");
    ensure!(!body.contains("device_id="), "device ids are labels:\n{body}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_names_the_public_services() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let mut client = ServerReflectionClient::new(cluster.nodes[0].api()?.channel);
    let list = MessageRequest::ListServices(String::new());
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await?.into_inner();
    let answer = answers.message().await?.and_then(|answer| answer.message_response);
    let Some(MessageResponse::ListServicesResponse(services)) = answer else { bail!("{answer:?}") };
    let services: BTreeSet<_> = services.service.into_iter().map(|service| service.name).collect();
    for name in ["InvokeService", "RegistryService", "ClusterService"] {
        ensure!(services.contains(&format!("rollcall.v1.{name}")), "{name} is missing in {services:?}");
    }
    ensure!(!services.iter().any(|name| name.contains("peer")), "internals are shown: {services:?}");
    cluster.finish().await
}
