//! Devices lose their way to their node with calls in flight: on the same node and on another one, their answers arrive.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use rollcall_cluster_tests::{
    Cluster, ClusterPlan, HEAL_PATIENCE, Lab, LabDevice, Node, Pass, Proxy, RawDevice, RawProfile,
    SPREAD_PATIENCE, SharedCluster, call, refusal, wait_until,
};
use rollcall_proto::{
    api::{InvokeRequest, InvokeResponse},
    device::{CloseCode, Result as Answer, attach_request::Frame as Up, attach_response::Frame as Down},
};
use tokio::{task::JoinHandle, time::Instant};
use tonic::{Code, Status};

/// Short heartbeats, so that stalls are noticed soon; the shortest window that goes with them is 3.2 s.
fn plan() -> ClusterPlan {
    with_window("10s")
}

fn with_window(window: &str) -> ClusterPlan {
    ClusterPlan::of(3).flag("heartbeat-interval", "500ms").flag("resume-window", window)
}

static CLUSTER: SharedCluster = SharedCluster::new(plan);

/// The window of [`plan`].
const WINDOW: Duration = Duration::from_secs(10);

/// A call that is at most executed once and takes so many milliseconds on its device.
fn nap(
    through: &Node,
    device: &str,
    millis: u32,
) -> anyhow::Result<JoinHandle<Result<InvokeResponse, Status>>> {
    let request = InvokeRequest {
        device_id: device.into(),
        payload: Bytes::from(millis.to_string()),
        ..call(device, "sleep")
    };
    let api = through.api()?;
    Ok(tokio::spawn(async move { api.call(request).await }))
}

/// The same to any device of the device's group.
fn nap_of_group(
    through: &Node,
    group: &str,
    millis: u32,
) -> anyhow::Result<JoinHandle<Result<InvokeResponse, Status>>> {
    let request = InvokeRequest { payload: Bytes::from(millis.to_string()), ..call(group, "sleep") };
    let api = through.api()?;
    Ok(tokio::spawn(async move { api.call(request).await }))
}

/// A device, alone in the group of its name.
async fn device(cluster: &Cluster, id: &str, servers: &[String]) -> anyhow::Result<LabDevice> {
    let device = Lab::new(id, id).capacity(8).attach(servers).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    Ok(device)
}

/// A way to a node that can be cut.
async fn before(node: &Node) -> anyhow::Result<Proxy> {
    Proxy::before((node.addresses.host, node.addresses.device).into()).await
}

/// A number of a node's metrics, over all labels.
async fn metric(node: &Node, name: &str) -> anyhow::Result<f64> {
    let (_, text) = node.get("/metrics").await?;
    let lines = text.lines().filter(|line| line.starts_with(name) && !line.starts_with('#'));
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_flaps_keeps_its_session_and_its_calls() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let proxy = before(&cluster.nodes[1]).await?;
    let device = device(&cluster, "flapping", &[proxy.url()]).await?;
    let (_, before) = device.attached(SPREAD_PATIENCE).await?;
    let resumed = metric(&cluster.nodes[1], "rollcall_device_sessions_resumed_total").await?;
    let mut calls = Vec::new();
    for node in &cluster.nodes {
        // One ends while the device is away, one when it is back.
        calls.push((nap(node, "flapping", 600)?, "600"));
        calls.push((nap(node, "flapping", 4_000)?, "4000"));
    }
    device.runs(6).await?;
    proxy.set(Pass::Cut);
    let lost = Instant::now();
    wait_until("a new call is told that the device is away", SPREAD_PATIENCE, async || {
        // One that was sent before the loss was noticed waits for the device.
        let timeout = Some(Duration::from_millis(500).try_into()?);
        let request = InvokeRequest { device_id: "flapping".into(), timeout, ..call("flapping", "echo") };
        let refused = refusal(cluster.nodes[0].api()?.call(request).await)?;
        ensure!(
            refused.brief() == (Code::FailedPrecondition, "NOT_CONNECTED", "NOT_EXECUTED"),
            "{refused:?}"
        );
        Ok(())
    })
    .await?;
    device.runs(3).await?;
    proxy.set(Pass::Freely);
    for (call, payload) in calls {
        ensure!(call.await??.payload == payload);
    }
    ensure!(lost.elapsed() < WINDOW, "the window was over: this showed nothing");
    ensure!(device.started() == 6 && device.dropped() == 0, "{} started", device.started());
    let (node, after) = device.attached(SPREAD_PATIENCE).await?;
    ensure!(node == "n2" && after == before, "epoch {after} on {node} after {before}");
    let now = metric(&cluster.nodes[1], "rollcall_device_sessions_resumed_total").await?;
    ensure!(now > resumed, "it did not resume");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_outlive_their_devices_move_to_another_node() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let proxy = before(&cluster.nodes[1]).await?;
    let device = device(&cluster, "moving", &[proxy.url(), cluster.nodes[2].device_url()]).await?;
    let (node, before) = device.attached(SPREAD_PATIENCE).await?;
    ensure!(node == "n2", "it began on {node}");
    let mut calls = Vec::new();
    for node in &cluster.nodes {
        calls.push((nap(node, "moving", 200)?, "200"));
        calls.push((nap(node, "moving", 3_000)?, "3000"));
    }
    device.runs(6).await?;
    proxy.set(Pass::Cut);
    for (call, payload) in calls {
        let answer = call.await??;
        ensure!(answer.payload == payload, "{answer:?}");
        ensure!(answer.epoch == before, "epoch {} after {before}", answer.epoch);
    }
    ensure!(device.started() == 6 && device.dropped() == 0, "{} started", device.started());
    let (node, after) = device.attached(SPREAD_PATIENCE).await?;
    ensure!(node == "n3" && after > before, "epoch {after} on {node}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_connection_is_noticed_and_left() -> anyhow::Result<()> {
    // The agent first gives its last good node the time of a dial, most of the usual window.
    let cluster = with_window("60s").start().await?;
    let proxy = before(&cluster.nodes[1]).await?;
    let device = device(&cluster, "stalled", &[proxy.url(), cluster.nodes[2].device_url()]).await?;
    let waiting = nap(&cluster.nodes[0], "stalled", 200)?;
    let long = nap(&cluster.nodes[1], "stalled", 2_500)?;
    device.runs(2).await?;
    proxy.set(Pass::Never);
    ensure!(long.await??.payload == "2500");
    // Its result went into the dead connection before anybody could know.
    ensure!(waiting.await??.payload == "200");
    ensure!(device.started() == 2 && device.dropped() == 0, "{} started", device.started());
    let (node, _) = device.attached(SPREAD_PATIENCE).await?;
    ensure!(node == "n3", "it is on {node}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_outlive_the_holder_that_is_killed() -> anyhow::Result<()> {
    let cluster = plan().start().await?;
    let (leader, holder, heir) = cluster.leader_and_two_others().await?;
    let device = device(&cluster, "orphan", &[holder.device_url(), heir.device_url()]).await?;
    let (node, _) = device.attached(SPREAD_PATIENCE).await?;
    ensure!(node == holder.name, "it began on {node}");
    let mut calls = Vec::new();
    for through in [&leader, &heir] {
        calls.push((nap(through, "orphan", 3_000)?, "3000"));
        calls.push((nap(through, "orphan", 5_000)?, "5000"));
        calls.push((nap_of_group(through, "orphan", 5_000)?, "5000"));
    }
    device.runs(6).await?;
    // Whom the holder picked for a group's call, it says when the call lasts.
    wait_until("the origins know who has the group's calls", SPREAD_PATIENCE, async || {
        for origin in [&leader, &heir] {
            let told = metric(origin, "rollcall_picked_devices_total").await?;
            ensure!(told == 1.0, "{} was told of {told}", origin.name);
        }
        Ok(())
    })
    .await?;
    holder.kill9()?;
    for (call, payload) in calls {
        let answer = call.await?.context("a call was lost with its holder")?;
        ensure!(answer.payload == payload && answer.node == heir.name, "{answer:?}");
    }
    ensure!(device.started() == 6 && device.dropped() == 0, "{} started", device.started());
    holder.start()?;
    cluster.settled(HEAL_PATIENCE).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_window_the_outcome_is_unknown() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let proxy = before(&cluster.nodes[1]).await?;
    let device = device(&cluster, "gone", &[proxy.url()]).await?;
    let calls = [nap(&cluster.nodes[0], "gone", 20_000)?, nap(&cluster.nodes[1], "gone", 20_000)?];
    device.runs(2).await?;
    proxy.set(Pass::Cut);
    let lost = Instant::now();
    for call in calls {
        let refused = refusal(call.await?)?;
        ensure!(refused.brief() == (Code::Aborted, "DEVICE_LOST", "UNKNOWN"), "{refused:?}");
        let waited = lost.elapsed();
        ensure!(waited >= WINDOW && waited < WINDOW * 2, "after {waited:?}");
    }
    wait_until("the session is closed", SPREAD_PATIENCE, async || {
        let seen = cluster.nodes[0].api()?.device("gone").await?;
        ensure!(seen.session.is_none(), "{seen:?}");
        Ok(())
    })
    .await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_of_the_device_makes_the_outcome_unknown_at_once() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let proxy = before(&cluster.nodes[1]).await?;
    let former = device(&cluster, "reborn", &[proxy.url()]).await?;
    let calls = [nap(&cluster.nodes[0], "reborn", 20_000)?, nap(&cluster.nodes[1], "reborn", 20_000)?];
    former.runs(2).await?;
    proxy.set(Pass::Cut);
    let lost = Instant::now();
    let _heir = Lab::new("reborn", "reborn").attach(&[cluster.nodes[2].device_url()]).await?;
    for call in calls {
        let refused = refusal(call.await?)?;
        ensure!(refused.brief() == (Code::Aborted, "DEVICE_LOST", "UNKNOWN"), "{refused:?}");
    }
    ensure!(lost.elapsed() < WINDOW, "after {:?}", lost.elapsed());
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_worth_nothing_after_its_window_and_a_replayed_attach_nothing_ever() -> anyhow::Result<()>
{
    let cluster = CLUSTER.visit().await?;
    let proxy = before(&cluster.nodes[1]).await?;
    let first = RawProfile::new("watched", "watched");
    let (mut connection, session) = RawDevice::attached(&proxy.url(), &first).await?;
    // Somebody says once more, word by word, what he has heard the device say.
    let replays = async {
        for said in [first.clone(), RawProfile { attach_number: 1, ..first.clone().returning(&session) }] {
            let mut replayed = RawDevice::greet(&cluster.nodes[1].device_url()).await?;
            match replayed.refused(1, &said).await? {
                Down::AttachRefused(refused) => {
                    ensure!(refused.code() == CloseCode::Superseded, "{refused:?}");
                }
                other => bail!("the replay heard {other:?}"),
            }
        }
        // Whatever the replays brought about is applied before this.
        let later = RawProfile::new("watched-later", "watched");
        RawDevice::attached(&cluster.nodes[1].device_url(), &later).await?;
        let seen = cluster.nodes[1].api()?.device("watched").await?.session;
        let is_same = seen.as_ref().is_some_and(|held| held.epoch == session.epoch);
        ensure!(is_same, "the device was disturbed: {session:?} became {seen:?}");
        Ok(())
    };
    // It answers the node's pings while it listens.
    tokio::select! {
        heard = connection.hear_within(HEAL_PATIENCE) => bail!("the device heard {heard:?}"),
        replayed = replays => replayed?,
    }
    proxy.set(Pass::Cut);
    drop(connection);
    wait_until("the window is over", WINDOW * 3, async || {
        let seen = cluster.nodes[1].api()?.device("watched").await?;
        ensure!(seen.session.is_none(), "{seen:?}");
        Ok(())
    })
    .await?;
    // All that the device itself could say.
    let late = first.returning(&session);
    let (_late, opened) = RawDevice::attached(&cluster.nodes[1].device_url(), &late).await?;
    ensure!(!opened.resumed && opened.epoch > session.epoch, "{opened:?}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_token_resumes_nothing() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let url = cluster.nodes[1].device_url();
    let victim = RawProfile::new("victim", "victims");
    let (mut connection, session) = RawDevice::attached(&url, &victim).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let waiting = {
        let api = cluster.nodes[0].api()?;
        tokio::spawn(async move { api.echo("victims", "victim").await })
    };
    let taken = match connection.hear().await? {
        Some((1, Down::Call(call))) => call,
        other => bail!("no call, but {other:?}"),
    };
    // Another process shows the victim's token, and claims to have its call.
    let thief =
        RawProfile { instance: victim.instance.wrapping_add(1), ..victim.clone() }.returning(&session);
    let (claimed, stolen) = RawDevice::attached(&url, &thief.finished(&taken.token)).await?;
    ensure!(!stolen.resumed && stolen.epoch > session.epoch, "{stolen:?}");
    let forged = Answer { tag: 0, token: taken.token.clone(), epoch: taken.epoch, ..Answer::default() };
    claimed.say(1, Up::Result(forged.clone().into())).await?;
    // Another device shows the victim's token as its own.
    let other = RawProfile::new("thief", "thieves").returning(&session).finished(&taken.token);
    let (other, refused) = RawDevice::attached(&url, &other).await?;
    ensure!(!refused.resumed && !refused.replay, "{refused:?}");
    other.say(1, Up::Result(forged.into())).await?;
    let answer = waiting.await?;
    ensure!(answer.is_err(), "a forged answer was taken: {answer:?}");
    cluster.finish().await
}
