//! Records of devices through the API: what is judged, what is answered, what watchers see.

use std::time::Duration;

use prost_types::FieldMask;
use rollcall_proto::api::{
    CreateDeviceRequest, DeleteDeviceRequest, DeviceEventKind, GetDeviceRequest, RegistrationMode,
    RegistryPolicy, UpdateDeviceRequest, UpdateRegistryPolicyRequest, WatchDevicesRequest,
    WatchDevicesResponse, registry_service_client::RegistryServiceClient,
};
use tonic::{Code, Status, Streaming, transport::Channel};
use tonic_types::StatusExt;

use super::support::{
    device::{Ending, attach},
    node::TestNode,
};

async fn registry(node: &TestNode) -> RegistryServiceClient<Channel> {
    RegistryServiceClient::new(node.api().await)
}

fn update(paths: &[&str]) -> UpdateDeviceRequest {
    UpdateDeviceRequest {
        device_id: "pad".into(),
        update_mask: Some(FieldMask { paths: paths.iter().map(ToString::to_string).collect() }),
        ..UpdateDeviceRequest::default()
    }
}

fn reason(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().expect("ErrorInfo").reason)
}

async fn kind(changes: &mut Streaming<WatchDevicesResponse>) -> (DeviceEventKind, Option<bool>) {
    let change = tokio::time::timeout(Duration::from_secs(5), changes.message()).await.expect("in time");
    let change = change.expect("a change").expect("a change");
    (change.kind(), change.device.map(|device| device.registered))
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_see_records_come_change_and_go() {
    let node = TestNode::ready(&[]).await;
    let mut client = registry(&node).await;
    let watch = WatchDevicesRequest { device_id: "pad".into(), ..Default::default() };
    let mut changes = client.watch_devices(watch).await.expect("a watch").into_inner();
    assert_eq!(kind(&mut changes).await.0, DeviceEventKind::Unspecified);

    let create = CreateDeviceRequest { device_id: "pad".into(), ..Default::default() };
    client.create_device(create).await.expect("a record");
    assert_eq!(kind(&mut changes).await, (DeviceEventKind::Created, Some(true)));
    let held = attach(node.devices().await, "pad", &["own"], &[("site", "mine"), ("floor", "3")]).await;
    assert_eq!(kind(&mut changes).await, (DeviceEventKind::Connected, Some(true)));

    let mut labelled = update(&["labels"]);
    labelled.labels.insert("site".into(), "hz1".into());
    let labelled = client.update_device(labelled).await.expect("a record").into_inner();
    let device = labelled.device.expect("a device");
    assert_eq!((device.labels["site"].as_str(), device.labels["floor"].as_str()), ("hz1", "3"));
    assert_eq!(device.session.expect("its session").epoch, held.epoch);
    assert_eq!(kind(&mut changes).await.0, DeviceEventKind::Updated);

    client.update_device(update(&["enabled"])).await.expect("a record");
    assert_eq!(kind(&mut changes).await.0, DeviceEventKind::Disconnected);
    assert_eq!(kind(&mut changes).await.0, DeviceEventKind::Updated);
    let mut ended = held.ended;
    let told = tokio::time::timeout(Duration::from_secs(5), ended.wait_for(Option::is_some)).await;
    let told = told.expect("in time").expect("an end").clone();
    let code = rollcall_proto::device::CloseCode::Forbidden;
    assert!(matches!(&told, Some(Ending::Closed(closed)) if closed.code() == code), "{told:?}");

    let delete = DeleteDeviceRequest { device_id: "pad".into(), ..Default::default() };
    client.delete_device(delete).await.expect("a deletion");
    assert_eq!(kind(&mut changes).await, (DeviceEventKind::Deleted, Some(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_is_refused() {
    let node = TestNode::ready(&[]).await;
    let mut client = registry(&node).await;
    let invalid = (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned());
    for paths in [&[][..], &["etag"], &["groups", "session"]] {
        let refused = client.update_device(update(paths)).await.expect_err("a refusal");
        assert_eq!(reason(&refused), invalid, "{paths:?}");
    }
    let odd = UpdateDeviceRequest { etag: "yesterday".into(), ..update(&["groups"]) };
    assert_eq!(reason(&client.update_device(odd).await.expect_err("a refusal")), invalid);
    for create in [
        CreateDeviceRequest::default(),
        CreateDeviceRequest { groups: vec![String::new()], device_id: "pad".into(), ..Default::default() },
        CreateDeviceRequest { groups: vec!["g".into(); 17], device_id: "pad".into(), ..Default::default() },
    ] {
        assert_eq!(reason(&client.create_device(create).await.expect_err("a refusal")), invalid);
    }
    for seconds in [0, -1, 366 * 86_400] {
        let record_ttl = Some(prost_types::Duration { seconds, nanos: 0 });
        let policy = Some(RegistryPolicy { registration: 0, record_ttl });
        let refused = client.update_registry_policy(UpdateRegistryPolicyRequest { policy }).await;
        assert_eq!(reason(&refused.expect_err("a refusal")), invalid, "{seconds} s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_its_device_made_becomes_the_administrators() {
    let node = TestNode::ready(&[]).await;
    let mut client = registry(&node).await;
    let _held = attach(node.devices().await, "pad", &["own"], &[]).await;
    let get = GetDeviceRequest { device_id: "pad".into(), ..Default::default() };
    let device = client.get_device(get.clone()).await.expect("an answer").into_inner().device;
    let device = device.expect("a device");
    assert!(!device.registered && device.assigned.is_none() && device.expire_time.is_none(), "{device:?}");

    // By the etag that it shows, an administrator makes it his; then it stays.
    let known = RegistryPolicy { registration: RegistrationMode::Known.into(), record_ttl: None };
    let set = UpdateRegistryPolicyRequest { policy: Some(known) };
    let set = client.update_registry_policy(set).await.expect("a policy").into_inner().policy;
    assert_eq!(set.expect("a policy").registration(), RegistrationMode::Known);
    let adopt = UpdateDeviceRequest { etag: device.etag, enabled: true, ..update(&["enabled"]) };
    let adopted = client.update_device(adopt).await.expect("a record").into_inner().device;
    assert!(adopted.expect("a device").registered);
}
