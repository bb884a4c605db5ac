//! A watch through the loss of a node: each of its devices is told once, wherever and from wherever the watch goes on.

use std::time::Duration;

use anyhow::{Context, ensure};
use rollcall_cluster_tests::{Cluster, HEAL_PATIENCE, Lab, LabDevice, Node, SPREAD_PATIENCE};
use rollcall_proto::api::{DeviceEventKind, WatchCursor, WatchDevicesRequest, WatchDevicesResponse};
use tonic::Streaming;

/// More than one page of a watcher's would not show more from outside; the registry's own tests have those.
const DEVICES: usize = 40;

async fn watch(
    node: &Node,
    after: Option<WatchCursor>,
) -> anyhow::Result<(Streaming<WatchDevicesResponse>, Option<WatchCursor>)> {
    let request = WatchDevicesRequest { group: "lost".into(), after, ..Default::default() };
    let mut changes = node.api()?.registry.watch_devices(request).await?.into_inner();
    let first = changes.message().await?.context("the watch begins with its cursor")?;
    Ok((changes, first.cursor))
}

/// The next ends of sessions, at most so many.
async fn ends(
    changes: &mut Streaming<WatchDevicesResponse>,
    wanted: usize,
) -> anyhow::Result<Vec<(String, WatchCursor)>> {
    let mut seen = Vec::new();
    while seen.len() < wanted {
        let change = tokio::time::timeout(HEAL_PATIENCE, changes.message()).await;
        let change = change.with_context(|| format!("only {} of {wanted} ended", seen.len()))??;
        let change = change.context("the watch ended")?;
        ensure!(change.kind() == DeviceEventKind::Disconnected, "{change:?}");
        seen.push((change.device.context("a device")?.device_id, change.cursor.context("a cursor")?));
    }
    Ok(seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_nodes_devices_are_each_told_once_whoever_is_asked() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let (_, lost, other) = cluster.leader_and_two_others().await?;
    let mut devices: Vec<LabDevice> = Vec::new();
    for number in 0..DEVICES {
        devices.push(Lab::new(&format!("d-{number:02}"), "lost").attach(&[lost.device_url()]).await?);
    }
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let (mut changes, start) = watch(&other, None).await?;
    lost.kill9()?;
    let seen = ends(&mut changes, DEVICES).await?;
    let names: Vec<_> = seen.iter().map(|(device_id, _)| device_id.clone()).collect();
    let expected: Vec<_> = (0..DEVICES).map(|number| format!("d-{number:02}")).collect();
    ensure!(names == expected, "{names:?}");
    ensure!(seen.iter().all(|(_, cursor)| cursor.index == seen[0].1.index), "one entry: {seen:?}");

    cluster.caught_up(SPREAD_PATIENCE).await?;
    for node in cluster.running() {
        for at in [0, 1, DEVICES / 2, DEVICES - 2] {
            let (mut changes, _) = watch(&node, Some(seen[at].1.clone())).await?;
            let rest = ends(&mut changes, DEVICES - at - 1).await?;
            ensure!(rest == seen[at + 1..], "{} goes on after {at} with {rest:?}", node.name);
        }
        let (mut changes, _) = watch(&node, seen.last().map(|(_, cursor)| cursor.clone())).await?;
        let more = tokio::time::timeout(Duration::from_millis(300), changes.message()).await;
        ensure!(more.is_err(), "{} tells more: {more:?}", node.name);
        let (mut changes, _) = watch(&node, start.clone()).await?;
        ensure!(ends(&mut changes, DEVICES).await? == seen, "{} from the start", node.name);
    }
    cluster.finish().await
}
