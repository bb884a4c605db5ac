//! Sessions: who holds a device, and what happens when it appears twice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use rollcall_agent::{AgentState, CloseCode};
use rollcall_cluster_tests::{
    ClusterPlan, HEAL_PATIENCE, Lab, Pass, Proxy, RawDevice, RawProfile, SPREAD_PATIENCE, SharedCluster,
    Visit, call, refusal, wait_until,
};
use rollcall_proto::{
    api::{Device, DisconnectDeviceRequest, InvokeRequest},
    device::{Detach, attach_request::Frame as Up, attach_response::Frame as Down},
};

static CLUSTER: SharedCluster = SharedCluster::new(|| ClusterPlan::of(3));

/// Waits until every node sees the device under this epoch.
async fn everywhere_at(cluster: &Visit<'_>, device_id: &str, epoch: u64) -> anyhow::Result<Device> {
    wait_until(&format!("every node sees {device_id} at epoch {epoch}"), SPREAD_PATIENCE, async || {
        let mut seen = Device::default();
        for node in &cluster.nodes {
            seen = node.api()?.device(device_id).await?;
            let at = seen.session.as_ref().map(|session| session.epoch);
            ensure!(at == Some(epoch), "{} sees {at:?}", node.name);
        }
        Ok(seen)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newer_of_two_wins_and_the_older_is_told() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let profile = RawProfile::new("twin", "twins");
    let (mut older, first) = RawDevice::attached(&cluster.nodes[0].device_url(), &profile).await?;
    everywhere_at(&cluster, "twin", first.epoch).await?;
    let newer = Lab::new("twin", "twins").attach(&[cluster.nodes[1].device_url()]).await?;
    let (node, epoch) = newer.attached(SPREAD_PATIENCE).await?;
    ensure!(node == "n2" && epoch > first.epoch, "{node} at {epoch} after {}", first.epoch);
    match older.hear().await? {
        Some((1, Down::Superseded(told))) => {
            ensure!(
                told.winner_epoch == epoch && !told.same_instance,
                "{told:?} while the winner has {epoch}"
            );
        }
        other => bail!("the older heard {other:?}"),
    }
    everywhere_at(&cluster, "twin", epoch).await?;
    for through in &cluster.nodes {
        let answer = through.api()?.echo("twins", "twin").await?;
        ensure!(answer.node == "n2" && answer.epoch == epoch, "{answer:?}");
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_close_changes_nothing() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let profile = RawProfile::new("late-close", "late-close");
    let (older, first) = RawDevice::attached(&cluster.nodes[0].device_url(), &profile).await?;
    everywhere_at(&cluster, "late-close", first.epoch).await?;
    let newer = Lab::new("late-close", "late-close").attach(&[cluster.nodes[2].device_url()]).await?;
    let (_, epoch) = newer.attached(SPREAD_PATIENCE).await?;
    // The goodbye of the older one arrives when the newer one is long there; then its connection goes too.
    older.say(1, Up::Detach(Detach { reason: "late".into() })).await.ok();
    drop(older);
    // Another device's attach and close through the same node come after it in the log.
    Lab::new("marker", "marker").attach(&[cluster.nodes[0].device_url()]).await?.shutdown().await;
    wait_until("the marker is gone", SPREAD_PATIENCE, async || {
        let marker = cluster.nodes[2].api()?.device("marker").await?;
        ensure!(marker.session.is_none(), "{marker:?}");
        Ok(())
    })
    .await?;
    let seen = everywhere_at(&cluster, "late-close", epoch).await?;
    ensure!(seen.session.is_some_and(|session| session.node == "n3"), "the newer session has moved");
    for through in &cluster.nodes {
        ensure!(through.api()?.echo("late-close", "late-close").await?.epoch == epoch, "another epoch");
    }
    ensure!(newer.state().is_attached(), "{:?}", newer.state());
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_superseded_does_not_fight_back() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let older = Lab::new("rival", "rivals").attach(&[cluster.nodes[0].device_url()]).await?;
    let newer = Lab::new("rival", "rivals").attach(&[cluster.nodes[1].device_url()]).await?;
    let (_, epoch) = newer.attached(SPREAD_PATIENCE).await?;
    wait_until("the older agent knows that it lost", SPREAD_PATIENCE, async || match older.state() {
        AgentState::Refused { code: CloseCode::Superseded, .. } => Ok(()),
        other => bail!("it is {other:?}"),
    })
    .await?;
    everywhere_at(&cluster, "rival", epoch).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attach_overtaken_by_its_own_successor_is_refused() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let second = RawProfile { attach_number: 2, ..RawProfile::new("ordered", "ordered") };
    let (_held, attached) = RawDevice::attached(&cluster.nodes[0].device_url(), &second).await?;
    everywhere_at(&cluster, "ordered", attached.epoch).await?;
    let delayed = RawProfile { attach_number: 1, ..second };
    let refused = RawDevice::attached(&cluster.nodes[1].device_url(), &delayed).await;
    ensure!(refused.is_err(), "the delayed attach of the same instance won: {refused:?}");
    everywhere_at(&cluster, "ordered", attached.epoch).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_end_a_session_and_the_device_comes_back() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let device = Lab::new("ended", "ended").attach(&[cluster.nodes[0].device_url()]).await?;
    let (_, first) = device.attached(SPREAD_PATIENCE).await?;
    everywhere_at(&cluster, "ended", first).await?;
    let disconnect =
        |epoch| DisconnectDeviceRequest { device_id: "ended".into(), epoch, ..Default::default() };
    let wrong = cluster.nodes[1].api()?.registry.disconnect_device(disconnect(first + 1)).await;
    ensure!(wrong.is_err(), "a session of another epoch was ended: {wrong:?}");
    let ended = cluster.nodes[1].api()?.registry.disconnect_device(disconnect(first)).await?.into_inner();
    ensure!(ended.epoch == first, "{ended:?}");
    let again = wait_until("the device is back under a newer epoch", SPREAD_PATIENCE, async || match device
        .state()
    {
        AgentState::Attached { epoch, .. } if epoch > first => Ok(epoch),
        other => bail!("it is {other:?}"),
    })
    .await?;
    everywhere_at(&cluster, "ended", again).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_do_not_collide() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let _device = Lab::new("same", "same").attach(&[cluster.nodes[0].device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let elsewhere = InvokeRequest { namespace: "another".into(), ..call("same", "echo") };
    let refused = refusal(cluster.nodes[0].api()?.call(elsewhere).await)?;
    ensure!(refused.reason == "NO_DEVICE", "{refused:?}");
    cluster.finish().await
}

/// A device whose supervisor starts its agent anew whenever that has lost, or does not get, the session.
async fn insist(device_id: &str, url: String, stop: Arc<AtomicBool>) {
    while !stop.load(SeqCst) {
        let agent = Lab::new(device_id, device_id).capacity(16).start(std::slice::from_ref(&url));
        while !stop.load(SeqCst) && !matches!(agent.state(), AgentState::Refused { .. }) {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        agent.shutdown().await;
    }
}

/// A number of all nodes' metrics.
async fn total(cluster: &Visit<'_>, name: &str) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for node in &cluster.nodes {
        let (_, page) = node.get("/metrics").await?;
        let lines = page.lines().filter(|line| line.starts_with(name));
        sum += lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>();
    }
    Ok(sum)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_with_one_id_take_turns_that_grow_and_calls_go_on() -> anyhow::Result<()> {
    const REFUSED: &str = r#"rollcall_device_attaches_refused_total{reason="CLOSE_CODE_SUPERSEDED"}"#;
    let cluster = CLUSTER.visit().await?;
    let (begun, refused) = (Instant::now(), total(&cluster, REFUSED).await?);
    let stop = Arc::new(AtomicBool::new(false));
    let rivals = [0, 1].map(|node| {
        let (url, stop) = (cluster.nodes[node].device_url(), Arc::clone(&stop));
        tokio::spawn(insist("contested", url, stop))
    });
    wait_until("one of them knocks in vain again and again", HEAL_PATIENCE * 2, async || {
        let knocks = total(&cluster, REFUSED).await? - refused;
        ensure!(knocks >= 20.0, "{knocks} times");
        Ok(())
    })
    .await?;
    let api = cluster.nodes[2].api()?;
    wait_until("fifty calls in a row are answered", HEAL_PATIENCE * 2, async || {
        for _ in 0..50 {
            api.echo("contested", "contested").await?;
        }
        Ok(())
    })
    .await?;
    // Left alone, they take the device from each other several times a second.
    let (flaps, seconds) =
        (total(&cluster, "rollcall_device_flaps_total").await?, begun.elapsed().as_secs_f64());
    ensure!(flaps >= 1.0 && flaps <= 4.0 + seconds / 2.0, "{flaps} times in {seconds} s");
    let told =
        |log: &str| log.lines().any(|line| line.contains("again and again") && line.contains("former_from"));
    let logs = cluster.nodes.iter().map(|node| node.output()).collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(logs.iter().any(|log| told(log)), "nobody is told");
    stop.store(true, SeqCst);
    for rival in rivals {
        rival.await?;
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_restarts_again_and_again_is_let_in_each_time() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let mut proxies = Vec::new();
    for node in &cluster.nodes[..2] {
        proxies.push(Proxy::before((node.addresses.host, node.addresses.device).into()).await?);
    }
    // By the eighth time another device would be kept out for more than half a minute.
    let mut dead = Vec::new();
    for life in 0..8 {
        let way = &proxies[life % 2];
        way.set(Pass::Freely);
        let profile = RawProfile::new("restless", "restless");
        let alive = wait_until("the device is let in", HEAL_PATIENCE, async || {
            RawDevice::attached(&way.url(), &profile).await
        });
        // Its power fails: nobody ends the connection.
        dead.push(alive.await?);
        way.set(Pass::Never);
    }
    cluster.finish().await
}
