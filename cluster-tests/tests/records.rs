//! Records of devices: what an administrator says of them through any node is in force on all, and outlives the processes.

use std::time::Duration;

use anyhow::{bail, ensure};
use rollcall_agent::{AgentState, CloseCode};
use rollcall_cluster_tests::{
    AT_ONCE, Cluster, HEAL_PATIENCE, Lab, RawDevice, RawProfile, SPREAD_PATIENCE, call, refusal, wait_until,
};
use rollcall_proto::{
    api::{
        CreateDeviceRequest, DeleteDeviceRequest, Device, InvokeRequest, RegistrationMode, RegistryPolicy,
        UpdateDeviceRequest, UpdateRegistryPolicyRequest,
    },
    device::attach_response::Frame as Down,
};
use tokio::time::Instant;
use tonic::Code;

fn update(device_id: &str, etag: &str, paths: &[&str]) -> UpdateDeviceRequest {
    let paths = paths.iter().map(ToString::to_string).collect();
    UpdateDeviceRequest {
        device_id: device_id.into(),
        etag: etag.into(),
        update_mask: Some(prost_types::FieldMask { paths }),
        ..Default::default()
    }
}

fn delete(device_id: &str, etag: &str) -> DeleteDeviceRequest {
    DeleteDeviceRequest { device_id: device_id.into(), etag: etag.into(), ..Default::default() }
}

/// Waits until every running node shows the device as `is` has it.
async fn everywhere(
    cluster: &Cluster,
    device_id: &str,
    what: &str,
    is: impl Fn(&Device) -> bool,
) -> anyhow::Result<()> {
    wait_until(&format!("every node shows {device_id} {what}"), SPREAD_PATIENCE, async || {
        for node in cluster.running() {
            let device = node.api()?.device(device_id).await?;
            ensure!(is(&device), "{} shows {device:?}", node.name);
        }
        Ok(())
    })
    .await
}

/// Waits until no running node knows the device.
async fn nowhere(cluster: &Cluster, device_id: &str, patience: Duration) -> anyhow::Result<()> {
    wait_until(&format!("no node knows {device_id}"), patience, async || {
        for node in cluster.running() {
            let found = node.api()?.device(device_id).await;
            ensure!(found.is_err(), "{} shows {found:?}", node.name);
        }
        Ok(())
    })
    .await
}

async fn set_policy(cluster: &Cluster, node: &str, policy: RegistryPolicy) -> anyhow::Result<()> {
    let request = UpdateRegistryPolicyRequest { policy: Some(policy) };
    cluster.node(node)?.api()?.registry.update_registry_policy(request).await?;
    cluster.caught_up(SPREAD_PATIENCE).await
}

async fn register(cluster: &Cluster, node: &str, device_id: &str, group: &str) -> anyhow::Result<Device> {
    let request = CreateDeviceRequest {
        device_id: device_id.into(),
        groups: vec![group.into()],
        labels: [("site".to_owned(), "hz1".to_owned())].into(),
        ..Default::default()
    };
    let created = cluster.node(node)?.api()?.registry.create_device(request).await?.into_inner();
    cluster.caught_up(SPREAD_PATIENCE).await?;
    created.device.ok_or_else(|| anyhow::anyhow!("an answer without a device"))
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_changed_through_any_node_and_by_their_etag() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let created = register(&cluster, "n1", "pad", "assigned").await?;
    ensure!(created.registered && created.enabled && !created.etag.is_empty(), "{created:?}");
    for node in cluster.running() {
        let again = CreateDeviceRequest { device_id: "pad".into(), ..Default::default() };
        let refused = refusal(node.api()?.registry.create_device(again).await)?;
        ensure!(refused.code == Code::AlreadyExists && refused.reason == "DEVICE_EXISTS", "{refused:?}");
        let refused = refusal(node.api()?.registry.update_device(update("nobody", "", &["groups"])).await)?;
        ensure!(refused.code == Code::NotFound && refused.reason == "NO_DEVICE", "{refused:?}");
        let refused = refusal(node.api()?.registry.update_device(update("pad", "", &[])).await)?;
        ensure!(refused.code == Code::InvalidArgument, "{refused:?}");
    }

    // It says that it belongs to another group; the administrator wins, on the holder and everywhere else.
    let pad = Lab::new("pad", "own").attach(&[cluster.node("n1")?.device_url()]).await?;
    let (_, epoch) = pad.attached(SPREAD_PATIENCE).await?;
    everywhere(&cluster, "pad", "connected", |pad| pad.session.is_some() && pad.groups == ["assigned"])
        .await?;
    for node in cluster.running() {
        node.api()?.echo("assigned", "pad").await?;
        node.api()?.echo("assigned", "").await?;
        let refused = refusal(node.api()?.call(call("own", "echo")).await)?;
        ensure!(refused.reason == "NO_DEVICE", "{refused:?}");
    }

    // A change moves the session to another group without ending it; whoever read before it must read again.
    let moved =
        UpdateDeviceRequest { groups: vec!["moved".into()], ..update("pad", &created.etag, &["groups"]) };
    let updated = cluster.node("n3")?.api()?.registry.update_device(moved.clone()).await?.into_inner();
    let updated = updated.device.unwrap_or_default();
    ensure!(updated.etag != created.etag && updated.groups == ["moved"], "{updated:?}");
    everywhere(&cluster, "pad", "moved", |pad| pad.groups == ["moved"]).await?;
    for node in cluster.running() {
        let answer = node.api()?.echo("moved", "").await?;
        ensure!(answer.epoch == epoch, "the session has changed: {answer:?}");
        let refused = refusal(node.api()?.registry.update_device(moved.clone()).await)?;
        ensure!(refused.code == Code::Aborted && refused.reason == "ETAG_MISMATCH", "{refused:?}");
        ensure!(refused.metadata.get("etag") == Some(&updated.etag), "{refused:?}");
        let refused = refusal(node.api()?.registry.delete_device(delete("pad", &created.etag)).await)?;
        ensure!(refused.code == Code::Aborted, "{refused:?}");
    }

    pad.shutdown().await;
    cluster.node("n2")?.api()?.registry.delete_device(delete("pad", &updated.etag)).await?;
    nowhere(&cluster, "pad", SPREAD_PATIENCE).await?;
    let refused = refusal(cluster.node("n1")?.api()?.registry.delete_device(delete("pad", "")).await)?;
    ensure!(refused.code == Code::NotFound, "{refused:?}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_device_is_sent_away_and_not_called() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let device = Lab::new("rogue", "rogues").attach(&[cluster.node("n1")?.device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let disable = update("rogue", "", &["enabled"]);
    cluster.node("n2")?.api()?.registry.update_device(disable).await?;
    wait_until("its agent is refused", SPREAD_PATIENCE, async || match device.state() {
        AgentState::Refused { code: CloseCode::Forbidden, .. } => Ok(()),
        other => bail!("it is {other:?}"),
    })
    .await?;
    everywhere(&cluster, "rogue", "disabled", |rogue| !rogue.enabled && rogue.session.is_none()).await?;
    for node in cluster.running() {
        let named = InvokeRequest { device_id: "rogue".into(), ..call("rogues", "echo") };
        let begun = Instant::now();
        let refused = refusal(node.api()?.call(named).await)?;
        let expected = (Code::FailedPrecondition, "DEVICE_DISABLED", "NOT_EXECUTED");
        ensure!(refused.brief() == expected && begun.elapsed() < AT_ONCE, "{refused:?}");
        let attach = RawDevice::attached(&node.device_url(), &RawProfile::new("rogue", "rogues")).await;
        ensure!(attach.is_err(), "a disabled device attached at {}: {attach:?}", node.name);
    }
    let enable = UpdateDeviceRequest { enabled: true, ..update("rogue", "", &["enabled"]) };
    cluster.node("n3")?.api()?.registry.update_device(enable).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let (_raw, _) =
        RawDevice::attached(&cluster.node("n3")?.device_url(), &RawProfile::new("rogue", "rogues")).await?;
    everywhere(&cluster, "rogue", "back", |rogue| rogue.enabled && rogue.session.is_some()).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_known_devices_attach_when_the_policy_says_so_and_all_of_it_outlives_a_restart()
-> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let known = RegistryPolicy { registration: RegistrationMode::Known.into(), record_ttl: None };
    set_policy(&cluster, "n2", known).await?;
    register(&cluster, "n1", "invited", "guests").await?;
    let disabled = CreateDeviceRequest { device_id: "barred".into(), disabled: true, ..Default::default() };
    cluster.node("n1")?.api()?.registry.create_device(disabled).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    only_invited_attach(&cluster).await?;

    for node in &cluster.nodes {
        node.kill9()?;
    }
    for node in &cluster.nodes {
        node.start()?;
    }
    cluster.settled(HEAL_PATIENCE).await?;
    everywhere(&cluster, "invited", "registered", |device| {
        device.registered && device.assigned.as_ref().is_some_and(|assigned| assigned.groups == ["guests"])
    })
    .await?;
    everywhere(&cluster, "barred", "disabled", |device| !device.enabled).await?;
    only_invited_attach(&cluster).await?;
    cluster.finish().await
}

async fn only_invited_attach(cluster: &Cluster) -> anyhow::Result<()> {
    for node in cluster.running() {
        for device_id in ["stranger", "barred"] {
            let mut raw = RawDevice::greet(&node.device_url()).await?;
            let profile = RawProfile::new(device_id, "guests");
            match raw.refused(1, &profile).await? {
                Down::AttachRefused(refused) if refused.code() == CloseCode::Forbidden => {}
                other => bail!("{device_id} was answered {other:?} by {}", node.name),
            }
        }
        let invited = Lab::new("invited", "own").attach(&[node.device_url()]).await?;
        invited.attached(SPREAD_PATIENCE).await?;
        invited.shutdown().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_its_device_made_goes_when_it_is_not_used() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let soon = prost_types::Duration { seconds: 2, nanos: 0 };
    set_policy(&cluster, "n1", RegistryPolicy { registration: 0, record_ttl: Some(soon) }).await?;
    register(&cluster, "n3", "kept", "some").await?;
    let stays = Lab::new("stays", "some").attach(&[cluster.node("n2")?.device_url()]).await?;
    let leaves = Lab::new("leaves", "some").attach(&[cluster.node("n2")?.device_url()]).await?;
    leaves.shutdown().await;
    everywhere(&cluster, "leaves", "to expire", |device| device.expire_time.is_some()).await?;
    nowhere(&cluster, "leaves", HEAL_PATIENCE).await?;
    everywhere(&cluster, "kept", "still", |device| device.registered).await?;
    everywhere(&cluster, "stays", "connected", |device| device.session.is_some()).await?;
    stays.shutdown().await;
    cluster.finish().await
}
