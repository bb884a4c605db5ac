//! The services of a whole node, from the outside: calls, devices, cluster, health, pages, drain.

use std::time::Duration;

use super::support::{
    device::{self, Ending, attach},
    node::TestNode,
};
use rollcall_node::config::table;
use rollcall_proto::api::{
    Consistency, DeviceEventKind, DisconnectDeviceRequest, ExplainRouteRequest, GetClusterRequest,
    GetDeviceRequest, InvokeRequest, ListDevicesRequest, ListGroupsRequest, ListNodesRequest, NodeRole,
    NodeState, WatchDevicesRequest, cluster_service_client::ClusterServiceClient,
    invoke_service_client::InvokeServiceClient, registry_service_client::RegistryServiceClient,
};
use tonic::{Code, Request, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt;

fn call(action: &str) -> InvokeRequest {
    InvokeRequest { group: "sign".into(), action: action.into(), ..InvokeRequest::default() }
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().expect("ErrorInfo").reason
}

fn fact(status: &Status, key: &str) -> Option<String> {
    status.get_details_error_info().expect("ErrorInfo").metadata.get(key).cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_reaches_its_device_and_its_answer_comes_back() {
    let node = TestNode::ready(&[]).await;
    let held = attach(node.devices().await, "phone-1", &["sign"], &[("site", "hz1")]).await;
    let mut client = InvokeServiceClient::new(node.api().await);
    let request = InvokeRequest {
        payload: "hello".into(),
        content_type: "text/plain".into(),
        metadata: [("trace".to_owned(), "7".to_owned())].into(),
        labels: [("site".to_owned(), "hz1".to_owned())].into(),
        request_id: "r-1".into(),
        ..call("echo")
    };
    let response = client.invoke(request).await.expect("an answer").into_inner();
    assert_eq!(response.payload, "hello");
    assert_eq!(response.content_type, "text/plain");
    assert_eq!(response.metadata["trace"], "7");
    assert_eq!(response.device_id, "phone-1");
    assert_eq!(response.epoch, held.epoch);
    assert_eq!(response.node, node.cluster.config().name);
    assert_eq!(response.request_id, "r-1");
    assert_eq!(response.attempts, 1);
    assert_eq!(response.cluster_id.len(), 32);
    assert!(response.timings.expect("timings").total.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_come_at_once_with_code_reason_and_outcome() {
    let node = TestNode::ready(&[(&table::MAX_PAYLOAD, "1KiB")]).await;
    let _held = attach(node.devices().await, "phone-1", &["sign"], &[]).await;
    let mut client = InvokeServiceClient::new(node.api().await);
    let cases = [
        (InvokeRequest { group: "print".into(), ..call("echo") }, Code::FailedPrecondition, "NO_DEVICE"),
        (InvokeRequest { device_id: "x".into(), ..call("echo") }, Code::FailedPrecondition, "NOT_CONNECTED"),
        (call("dance"), Code::Unimplemented, "ACTION_UNKNOWN"),
        (InvokeRequest { group: String::new(), ..call("echo") }, Code::InvalidArgument, "INVALID_ARGUMENT"),
        (
            InvokeRequest { payload: vec![0; 1_025].into(), ..call("echo") },
            Code::OutOfRange,
            "PAYLOAD_TOO_LARGE",
        ),
        (
            InvokeRequest { payload: vec![0; 100_000].into(), ..call("echo") },
            Code::OutOfRange,
            "PAYLOAD_TOO_LARGE",
        ),
    ];
    for (request, code, expected) in cases {
        let status = client.invoke(request).await.expect_err(expected);
        assert_eq!((status.code(), reason(&status).as_str()), (code, expected), "{status}");
        assert_eq!(fact(&status, "outcome").as_deref(), Some("NOT_EXECUTED"), "{expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_failed_was_executed() {
    let node = TestNode::ready(&[]).await;
    let _held = attach(node.devices().await, "phone-1", &["sign"], &[]).await;
    let mut client = InvokeServiceClient::new(node.api().await);
    let status = client.invoke(call("fail")).await.expect_err("an error");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unknown, "DEVICE_ERROR"));
    assert_eq!(fact(&status, "outcome").as_deref(), Some("EXECUTED"));
    assert_eq!(fact(&status, "device_id").as_deref(), Some("phone-1"));
    assert!(status.message().contains("it broke"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_call_says_where_its_time_went() {
    let node = TestNode::ready(&[]).await;
    let _held = attach(node.devices().await, "phone-1", &["sign"], &[]).await;
    let mut client = InvokeServiceClient::new(node.api().await);
    let by_field = InvokeRequest {
        timeout: Some(prost_types::Duration { seconds: 0, nanos: 100_000_000 }),
        ..call("hang")
    };
    let status = client.invoke(by_field).await.expect_err("an error");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "DEADLINE"));
    assert_eq!(fact(&status, "stage").as_deref(), Some("device"));
    assert_eq!(fact(&status, "outcome").as_deref(), Some("UNKNOWN"));

    // The header by hand: tonic's own client would end the call itself and hide the node's answer.
    // On a busy machine tonic's own timer may be served before the router's, which is due a little earlier.
    let mut status = Status::ok("");
    for _ in 0..20 {
        let mut by_header = Request::new(call("hang"));
        by_header.metadata_mut().insert("grpc-timeout", "400m".parse().expect("a value"));
        status = client.invoke(by_header).await.expect_err("an error");
        if status.get_details_error_info().is_some() {
            break;
        }
    }
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "DEADLINE"), "{status}");
    assert_eq!(fact(&status, "stage").as_deref(), Some("device"), "the router's answer came first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_cancels_the_call_at_the_device() {
    let node = TestNode::ready(&[]).await;
    let mut held = attach(node.devices().await, "phone-1", &["sign"], &[]).await;
    let mut client = InvokeServiceClient::new(node.api().await);
    let abandoned = tokio::time::timeout(Duration::from_millis(100), client.invoke(call("hang"))).await;
    assert!(abandoned.is_err());
    let cancelled =
        tokio::time::timeout(Duration::from_secs(5), held.cancelled.wait_for(|count| *count == 1));
    cancelled.await.expect("a cancel in time").expect("the device is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_listed_by_filter_and_page_by_page() {
    let node = TestNode::ready(&[]).await;
    let mut held = Vec::new();
    for at in 0..5 {
        let group = if at % 2 == 0 { "even" } else { "odd" };
        held.push(attach(node.devices().await, &format!("d{at}"), &["all", group], &[]).await);
    }
    let mut client = RegistryServiceClient::new(node.api().await);
    let mut request = ListDevicesRequest { group: "all".into(), page_size: 2, ..Default::default() };
    let mut pages = Vec::new();
    loop {
        let page = client.list_devices(request.clone()).await.expect("a page").into_inner();
        pages.push(page.devices.iter().map(|device| device.device_id.clone()).collect::<Vec<_>>());
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(pages, [vec!["d0", "d1"], vec!["d2", "d3"], vec!["d4"]]);

    request.group = "odd".into();
    let status = client.list_devices(request).await.expect_err("other filters");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(fact(&status, "field").as_deref(), Some("page_token"));

    let elsewhere = ListDevicesRequest { node: "nobody".into(), ..Default::default() };
    assert!(client.list_devices(elsewhere).await.expect("a page").into_inner().devices.is_empty());

    let groups = client.list_groups(ListGroupsRequest::default()).await.expect("groups").into_inner().groups;
    let counts: Vec<_> = groups.iter().map(|group| (group.name.as_str(), group.connected)).collect();
    assert_eq!(counts, [("all", 5), ("even", 3), ("odd", 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_as_fresh_as_asked() {
    let node = TestNode::ready(&[]).await;
    let held = attach(node.devices().await, "phone-1", &["sign"], &[]).await;
    let mut client = RegistryServiceClient::new(node.api().await);
    let request = GetDeviceRequest {
        device_id: "phone-1".into(),
        consistency: Consistency::Linearizable as i32,
        ..Default::default()
    };
    let answer = client.get_device(request.clone()).await.expect("a device").into_inner();
    let session = answer.device.expect("a device").session.expect("a session");
    assert_eq!(session.epoch, held.epoch);
    assert_eq!(session.actions, ["echo", "fail", "hang"]);

    let ahead = GetDeviceRequest { min_index: answer.index + 100, ..request.clone() };
    let status = client.get_device(ahead).await.expect_err("an index from the future");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "REPLICA_BEHIND"));

    node.cluster.set_quorum(false);
    let status = client.get_device(request.clone()).await.expect_err("no leader");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "NO_LEADER"));
    let local = GetDeviceRequest { consistency: Consistency::Local as i32, ..request };
    client.get_device(local).await.expect("a local read needs no leader");

    let unknown = GetDeviceRequest { device_id: "nobody".into(), ..Default::default() };
    assert_eq!(client.get_device(unknown).await.expect_err("unknown").code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_a_device_come_and_go() {
    let node = TestNode::ready(&[]).await;
    let mut client = RegistryServiceClient::new(node.api().await);
    let request = WatchDevicesRequest { group: "sign".into(), ..Default::default() };
    let mut changes = client.watch_devices(request).await.expect("a watch").into_inner();
    let first = changes.message().await.expect("a message").expect("a message");
    assert_eq!(first.kind(), DeviceEventKind::Unspecified);
    assert!(first.cursor.is_some());

    let other = attach(node.devices().await, "printer-1", &["print"], &[]).await;
    let held = attach(node.devices().await, "phone-1", &["sign"], &[]).await;
    let opened = changes.message().await.expect("a message").expect("a message");
    assert_eq!(opened.kind(), DeviceEventKind::Connected);
    let device = opened.device.expect("a device");
    assert_eq!(device.device_id, "phone-1");
    assert_eq!(device.session.expect("a session").epoch, held.epoch);
    drop(other);

    let mut registry = RegistryServiceClient::new(node.api().await);
    let end = DisconnectDeviceRequest { device_id: "phone-1".into(), ..Default::default() };
    let ended = registry.disconnect_device(end).await.expect("an end").into_inner();
    assert_eq!(ended.epoch, held.epoch);
    let closed = changes.message().await.expect("a message").expect("a message");
    assert_eq!(closed.kind(), DeviceEventKind::Disconnected);
    assert_eq!(closed.device.expect("a device").session, None);
    assert_eq!(closed.cursor.expect("a cursor").index, ended.index);

    let mut ended = held.ended;
    let told = tokio::time::timeout(Duration::from_secs(5), ended.wait_for(Option::is_some)).await;
    let told = told.expect("the device is told in time").expect("an ending").clone();
    assert!(matches!(told, Some(Ending::Closed(_))), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_only_ended_at_the_epoch_that_was_meant() {
    let node = TestNode::ready(&[]).await;
    let held = attach(node.devices().await, "phone-1", &["sign"], &[]).await;
    let mut client = RegistryServiceClient::new(node.api().await);
    let end = |device: &str, epoch| DisconnectDeviceRequest {
        device_id: device.into(),
        epoch,
        ..Default::default()
    };
    let status = client.disconnect_device(end("phone-1", held.epoch + 1)).await.expect_err("another epoch");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "EPOCH_MISMATCH"));
    assert_eq!(fact(&status, "epoch"), Some(held.epoch.to_string()));
    let status = client.disconnect_device(end("nobody", 0)).await.expect_err("unknown");
    assert_eq!(status.code(), Code::NotFound);
    client.disconnect_device(end("phone-1", held.epoch)).await.expect("an end");
    let status = client.disconnect_device(end("phone-1", 0)).await.expect_err("gone");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "NOT_CONNECTED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_explained_step_by_step() {
    let node = TestNode::ready(&[]).await;
    let _held = attach(node.devices().await, "phone-1", &["sign"], &[]).await;
    let mut client = RegistryServiceClient::new(node.api().await);
    let ask = |device: &str, from: &str| ExplainRouteRequest {
        device_id: device.into(),
        from: from.into(),
        ..Default::default()
    };
    let route = client.explain_route(ask("phone-1", "")).await.expect("a route").into_inner();
    assert!(route.reachable);
    let steps: Vec<_> = route.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(steps, ["registry", "session", "holder", "delivery"]);

    let route = client.explain_route(ask("nobody", "")).await.expect("a route").into_inner();
    assert!(!route.reachable);
    assert_eq!(route.steps.last().expect("a step").detail, "no device default/nobody is known");

    let status = client.explain_route(ask("phone-1", "elsewhere")).await.expect_err("another node");
    assert_eq!(reason(&status), "OTHER_NODE");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_and_its_nodes_are_shown() {
    let node = TestNode::ready(&[]).await;
    let _held = attach(node.devices().await, "phone-1", &["sign"], &[]).await;
    let mut client = ClusterServiceClient::new(node.api().await);
    let cluster = client.get_cluster(GetClusterRequest {}).await.expect("a cluster").into_inner();
    assert_eq!(cluster.leader, node.cluster.config().name);
    assert_eq!((cluster.voters, cluster.failure_tolerance), (1, 0));
    assert_eq!((cluster.devices, cluster.sessions), (1, 1));
    assert!(cluster.has_quorum);
    let nodes = client.list_nodes(ListNodesRequest::default()).await.expect("nodes").into_inner().nodes;
    assert_eq!(nodes.len(), 1);
    assert_eq!((nodes[0].role(), nodes[0].state()), (NodeRole::Leader, NodeState::Up));
    assert_eq!(nodes[0].sessions, 1);
    assert_eq!(nodes[0].api_addr, node.cluster.config().advertise.api);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_readiness() {
    let node = TestNode::ready(&[]).await;
    let mut client = HealthClient::new(node.api().await);
    let ask = |service: &str| HealthCheckRequest { service: service.into() };
    for service in ["", "readiness", "liveness", "rollcall.v1.InvokeService"] {
        let answer = client.check(ask(service)).await.expect(service).into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    assert_eq!(client.check(ask("nobody")).await.expect_err("unknown").code(), Code::NotFound);
    let mut unknown = client.watch(ask("nobody")).await.expect("a watch").into_inner();
    let first = unknown.message().await.expect("a message").expect("a message");
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_show_life_readiness_and_metrics() {
    let node = TestNode::ready(&[]).await;
    assert_eq!(node.page("/livez").await, ("HTTP/1.1 200 OK".to_owned(), "alive\n".to_owned()));
    let _held = attach(node.devices().await, "phone-1", &["sign"], &[]).await;
    InvokeServiceClient::new(node.api().await).invoke(call("echo")).await.expect("an answer");
    let (status, metrics) = node.page("/metrics").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    for line in [
        "rollcall_build_info{version=\"",
        "grpc_server_started_total{grpc_type=\"unary\",grpc_service=\"rollcall.v1.InvokeService\",grpc_method=\"Invoke\"}",
        "grpc_method=\"Invoke\",grpc_code=\"OK\"}",
        "grpc_server_handling_seconds_bucket{",
        "rollcall_log_lines_dropped_total 0",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    node.cluster.set_quorum(false);
    node.wait_for_page("/readyz", "200 OK", "degraded\n").await;
    node.cluster.set_quorum(true);
    node.wait_for_page("/readyz", "200 OK", "ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_calls_end_tells_devices_and_succeeds() {
    let node = TestNode::ready(&[(&table::DRAIN_GRACE, "2s")]).await;
    let held = attach(node.devices().await, "phone-1", &["sign"], &[]).await;
    let mut client = InvokeServiceClient::new(node.api().await);
    client.invoke(call("echo")).await.expect("an answer");
    node.stop();
    let mut ended = held.ended;
    let told = tokio::time::timeout(Duration::from_secs(5), ended.wait_for(Option::is_some)).await;
    let told = told.expect("the device is told in time").expect("an ending").clone();
    assert!(matches!(told, Some(Ending::GoAway(_))), "{told:?}");
    node.ended().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_ends_the_node_with_its_reason() {
    let node = TestNode::ready(&[]).await;
    node.cluster.fail();
    let error = node.ended().await.expect_err("a fault");
    assert_eq!(error.to_string(), "the node had to stop: the disk is gone");
    assert!(error.was_serving());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let settings = super::support::node::settings("taken", &[(&table::DEVICE_ADDR, &address)]);
    let metrics = rollcall_node::telemetry::install_metrics().expect("a recorder");
    let stop = tokio_util::sync::CancellationToken::new();
    let served =
        rollcall_node::lifecycle::serve::<super::support::alone::Alone>(settings, metrics, stop).await;
    let error = served.expect_err("a port is taken").to_string();
    assert!(error.starts_with(&format!("cannot listen on {address} for devices: ")), "{error}");
    assert!(error.ends_with("(set by `device_addr`, --device-addr or ROLLCALL_DEVICE_ADDR)"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_nowhere_to_go_says_what_to_give() {
    let settings = super::support::node::settings("nowhere", &[(&table::BOOTSTRAP_EXPECT, "0")]);
    let metrics = rollcall_node::telemetry::install_metrics().expect("a recorder");
    let stop = tokio_util::sync::CancellationToken::new();
    let served =
        rollcall_node::lifecycle::serve::<super::support::alone::Alone>(settings, metrics, stop).await;
    let error = served.expect_err("there is no cluster").to_string();
    assert!(error.contains("--bootstrap-expect 1"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_of_sixty_kilobytes_goes_both_ways() {
    let node = TestNode::ready(&[]).await;
    let _held = device::attach(node.devices().await, "phone-1", &["sign"], &[]).await;
    let mut client = InvokeServiceClient::new(node.api().await);
    let payload: Vec<u8> = (0..60_000_u32).map(|at| at as u8).collect();
    let request = InvokeRequest { payload: payload.clone().into(), ..call("echo") };
    let response = client.invoke(request).await.expect("an answer").into_inner();
    assert_eq!(response.payload, payload);
}
