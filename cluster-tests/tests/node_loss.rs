//! Nodes are killed, stopped and started: the rest go on, devices come back, nothing acknowledged is lost.

use std::{sync::Arc, time::Duration};

use anyhow::{bail, ensure};
use rollcall_cluster_tests::{
    Cluster, HEAL_PATIENCE, Lab, LabDevice, Node, RawDevice, RawProfile, SPREAD_PATIENCE, call, refusal,
    wait_until,
};
use rollcall_proto::{
    api::InvokeRequest,
    device::{Detach, attach_request::Frame as Up},
};
use tokio::time::Instant;

/// A device on each node that may move to any other; `d-n1` begins on n1.
async fn movable_devices(cluster: &Cluster) -> anyhow::Result<Vec<LabDevice>> {
    let mut devices = Vec::new();
    for (number, node) in cluster.nodes.iter().enumerate() {
        let mut servers = cluster.device_urls();
        servers.rotate_left(number);
        let device = Lab::new(&format!("d-{}", node.name), "movable").attach(&servers).await?;
        let (holder, _) = device.attached(SPREAD_PATIENCE).await?;
        ensure!(holder == node.name, "{} began on {holder}", device.device_id);
        devices.push(device);
    }
    cluster.caught_up(SPREAD_PATIENCE).await?;
    Ok(devices)
}

/// Waits until every device is callable through every running node.
async fn all_callable(cluster: &Cluster, devices: &[LabDevice]) -> anyhow::Result<()> {
    for node in cluster.running() {
        let api = node.api()?;
        for device in devices {
            let what = format!("{} is callable through {}", device.device_id, node.name);
            wait_until(&what, HEAL_PATIENCE, async || api.echo("movable", &device.device_id).await).await?;
        }
    }
    Ok(())
}

/// Kills a node and tells the story to its end.
async fn lose_and_regain(cluster: &Cluster, devices: &[LabDevice], lost: &Arc<Node>) -> anyhow::Result<()> {
    let others: Vec<_> = cluster.nodes.iter().filter(|node| node.name != lost.name).cloned().collect();
    lost.kill9()?;

    // Devices of the others stay callable through the others, without a pause.
    for through in &others {
        for holder in &others {
            let answer = through.api()?.echo("movable", &format!("d-{}", holder.name)).await?;
            ensure!(answer.node == holder.name, "{answer:?}");
        }
    }
    all_callable(cluster, devices).await?;
    let moved = others[0].api()?.echo("movable", &format!("d-{}", lost.name)).await?;
    ensure!(moved.node != lost.name, "held by the dead: {moved:?}");
    let late = Lab::new(&format!("while-{}-was-down", lost.name), "movable")
        .attach(&[others[0].device_url()])
        .await?;

    lost.start()?;
    cluster.settled(HEAL_PATIENCE).await?;
    cluster.caught_up(HEAL_PATIENCE).await?;
    let seen = lost.api()?.device(&late.device_id).await?;
    ensure!(seen.session.is_some_and(|session| session.node == others[0].name), "{} missed it", lost.name);
    all_callable(cluster, devices).await?;
    late.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_follower_is_survived_and_comes_back() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let devices = movable_devices(&cluster).await?;
    let (_, follower, _) = cluster.leader_and_two_others().await?;
    lose_and_regain(&cluster, &devices, &follower).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_survived_and_comes_back() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let devices = movable_devices(&cluster).await?;
    let leader = cluster.leader(SPREAD_PATIENCE).await?;
    lose_and_regain(&cluster, &devices, &leader).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_three_killed_come_back_with_their_devices() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let devices = movable_devices(&cluster).await?;
    // A device that is gone leaves its record; it must outlive the processes too.
    Lab::new("gone", "records")
        .label("site", "hz1")
        .attach(&[cluster.nodes[0].device_url()])
        .await?
        .shutdown()
        .await;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let before = cluster.nodes[0].api()?.cluster().await?;
    let mut epochs = Vec::new();
    for device in &devices {
        epochs.push(device.attached(SPREAD_PATIENCE).await?.1);
    }

    cluster.nodes.iter().try_for_each(|node| node.kill9())?;
    cluster.nodes.iter().try_for_each(|node| node.start())?;
    cluster.settled(HEAL_PATIENCE).await?;

    for node in &cluster.nodes {
        let api = node.api()?;
        let after = api.cluster().await?;
        ensure!(after.cluster_id == before.cluster_id, "another cluster: {after:?}");
        let record = api.device("gone").await?;
        ensure!(record.groups == ["records"] && record.labels["site"] == "hz1", "{record:?}");
        ensure!(record.session.is_none(), "{record:?}");
        for device in &devices {
            api.device(&device.device_id).await?;
        }
    }
    all_callable(&cluster, &devices).await?;
    for (device, before) in devices.iter().zip(epochs) {
        let (_, epoch) = device.attached(SPREAD_PATIENCE).await?;
        ensure!(epoch > before, "{}: epoch {epoch} after {before}", device.device_id);
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_leader_stopped_calls_on_the_others_still_work() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let devices = movable_devices(&cluster).await?;
    let (leader, one, two) = cluster.leader_and_two_others().await?;
    leader.pause()?;
    // At once, before anybody can have noticed: nobody is asked on the way.
    for (through, holder) in [(&one, &two), (&two, &one), (&one, &one), (&two, &two)] {
        let api = through.api()?;
        let begun = Instant::now();
        let answer = api.echo("movable", &format!("d-{}", holder.name)).await?;
        ensure!(answer.node == holder.name, "{answer:?}");
        ensure!(begun.elapsed() < Duration::from_millis(500), "it took {:?}", begun.elapsed());
    }
    // Its own devices: an error that says so, soon; never silence.
    let request = InvokeRequest { device_id: format!("d-{}", leader.name), ..call("movable", "echo") };
    let begun = Instant::now();
    let answer =
        wait_until("a call to the paused holder ends", SPREAD_PATIENCE, async || match tokio::time::timeout(
            Duration::from_secs(2),
            one.api()?.call(request.clone()),
        )
        .await
        {
            Ok(answer) => Ok(answer),
            Err(_) => bail!("still silent after {:?}", begun.elapsed()),
        })
        .await?;
    let refused = refusal(answer)?;
    ensure!(
        ["HOLDER_UNREACHABLE", "NOT_CONNECTED"].contains(&refused.reason.as_str()),
        "the holder sleeps, and the answer is {refused:?}"
    );
    leader.resume()?;
    cluster.settled(HEAL_PATIENCE).await?;
    all_callable(&cluster, &devices).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_alone_still_serves_its_own_devices() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let last = cluster.node("n2")?;
    let _device = Lab::new("own", "own").attach(&[last.device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    for name in ["n1", "n3"] {
        cluster.node(name)?.kill9()?;
    }
    // Through its lease and beyond: nothing that it needs for this is elsewhere.
    let until = Instant::now() + Duration::from_secs(6);
    while Instant::now() < until {
        let answer = last.api()?.echo("own", "own").await?;
        ensure!(answer.node == "n2", "{answer:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    cluster.node("n1")?.start()?;
    cluster.settled(HEAL_PATIENCE).await?;
    wait_until("the device is callable from the node that came back", HEAL_PATIENCE, async || {
        cluster.node("n1")?.api()?.echo("own", "own").await
    })
    .await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_asked_to_stop_sends_its_devices_elsewhere() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let devices = movable_devices(&cluster).await?;
    let leaving = cluster.node("n3")?;
    let status = leaving.stop().await?;
    ensure!(status.success(), "it ended with {status}");
    all_callable(&cluster, &devices).await?;
    leaving.start()?;
    cluster.settled(HEAL_PATIENCE).await?;
    all_callable(&cluster, &devices).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_late_close_of_a_node_that_slept_changes_nothing() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let (_, sleeper, awake) = cluster.leader_and_two_others().await?;
    for round in 0..5 {
        let device_id = format!("moved-{round}");
        let profile = RawProfile::new(&device_id, "movable");
        let (old, first) = RawDevice::attached(&sleeper.device_url(), &profile).await?;
        cluster.caught_up(SPREAD_PATIENCE).await?;
        sleeper.pause()?;
        let new = Lab::new(&device_id, "movable").attach(&[awake.device_url()]).await?;
        let (_, epoch) = new.attached(SPREAD_PATIENCE).await?;
        ensure!(epoch > first.epoch, "{epoch} after {}", first.epoch);
        // What the sleeper hears first when it wakes: that its old session is over. It does not know of the new one.
        old.say(1, Up::Detach(Detach { reason: "over".into() })).await?;
        sleeper.resume()?;
        cluster.caught_up(SPREAD_PATIENCE).await?;
        // An entry of the sleeper's own, behind whatever it closed.
        Lab::new("marker", "marker").attach(&[sleeper.device_url()]).await?.shutdown().await;
        cluster.caught_up(SPREAD_PATIENCE).await?;
        for node in cluster.running() {
            let seen = node.api()?.device(&device_id).await?.session;
            let at = seen.as_ref().map(|session| (session.node.clone(), session.epoch));
            ensure!(at == Some((awake.name.clone(), epoch)), "{} sees {device_id} at {at:?}", node.name);
            node.api()?.echo("movable", &device_id).await?;
        }
    }
    cluster.finish().await
}
