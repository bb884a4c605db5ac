//! Deadlines from outside: whose counts, that the time left travels along, and what is left behind: nothing.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use rollcall_cluster_tests::{
    ClusterPlan, Lab, Node, RawDevice, RawProfile, Refused, SPREAD_PATIENCE, SharedCluster, call, refusal,
    wait_until,
};
use rollcall_proto::{
    api::{GroupPolicy, InvokeRequest, InvokeResponse, SetGroupPolicyRequest},
    device::{self, attach_request::Frame as Up, attach_response::Frame as Down},
};
use tokio::{task::JoinHandle, time::Instant};
use tonic::{Code, Status};

/// The nodes' own limits, shorter than by default so that tests need not wait for them.
const DEFAULT: Duration = Duration::from_millis(800);
const MAXIMUM: Duration = Duration::from_secs(2);

static CLUSTER: SharedCluster =
    SharedCluster::new(|| ClusterPlan::of(3).flag("default-timeout", "800ms").flag("max-timeout", "2s"));

fn millis(millis: u64) -> Option<prost_types::Duration> {
    Duration::from_millis(millis).try_into().ok()
}

fn sleep(group: &str) -> InvokeRequest {
    InvokeRequest { payload: Bytes::from("60000"), ..call(group, "sleep") }
}

/// Makes a call as the generated client does, without any deadline of its own.
fn invoke(node: &Node, request: InvokeRequest) -> anyhow::Result<JoinHandle<Result<InvokeResponse, Status>>> {
    let mut api = node.api()?.invoke;
    Ok(tokio::spawn(async move { api.invoke(request).await.map(tonic::Response::into_inner) }))
}

/// How a call that must fail failed, and how long that took.
async fn refused(node: &Node, request: InvokeRequest) -> anyhow::Result<(Refused, Duration)> {
    let begun = Instant::now();
    let refused = refusal(invoke(node, request)?.await?)?;
    Ok((refused, begun.elapsed()))
}

async fn metric(node: &Node, name: &str) -> anyhow::Result<f64> {
    let (_, text) = node.get("/metrics").await?;
    let values = text.lines().filter_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    Ok(values.sum())
}

/// The next call that a device without an agent is given.
async fn next_call(device: &mut RawDevice) -> anyhow::Result<device::Call> {
    match device.hear().await? {
        Some((_, Down::Call(call))) => Ok(*call),
        other => bail!("no call, but {other:?}"),
    }
}

fn result_of(call: &device::Call) -> Up {
    let (tag, token, epoch) = (call.tag, call.token.clone(), call.epoch);
    Up::Result(Box::new(device::Result { tag, token, epoch, ..Default::default() }))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_default_and_its_maximum_end_calls() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let device = Lab::new("endless", "endless").capacity(9).attach(&[cluster.nodes[0].device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    for node in &cluster.nodes {
        let longest = InvokeRequest { timeout: millis(60_000), ..sleep("endless") };
        for (request, bound) in [(sleep("endless"), DEFAULT), (longest, MAXIMUM)] {
            let (late, took) = refused(node, request).await?;
            ensure!(late.brief() == (Code::DeadlineExceeded, "DEADLINE", "UNKNOWN"), "{late:?}");
            ensure!(took >= bound && took < bound + MAXIMUM, "{took:?} instead of {bound:?}");
        }
    }
    device.runs(0).await?;
    ensure!(device.dropped() == 6, "{} handlers were stopped", device.dropped());
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_groups_own_limits_hold_on_every_node_until_they_are_lifted() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let (holder, others) = (&cluster.nodes[0], &cluster.nodes[1]);
    let (mut device, _) =
        RawDevice::attached(&holder.device_url(), &RawProfile::new("hurried", "hurried")).await?;
    limit(others, "hurried", Some(600), Some(1_000)).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let call_for = |timeout| InvokeRequest { timeout, ..call("hurried", "echo") };
    for node in &cluster.nodes {
        for (timeout, most) in [(None, 600), (millis(1_900), 1_000)] {
            let left = time_given(node, &mut device, call_for(timeout)).await?;
            ensure!(left <= Duration::from_millis(most), "{} gave it {left:?}", node.name);
        }
    }
    limit(others, "hurried", None, None).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    for node in &cluster.nodes {
        wait_until("a call has its own time again", SPREAD_PATIENCE, async || {
            let left = time_given(node, &mut device, call_for(millis(1_900))).await?;
            ensure!(left > Duration::from_millis(1_000), "{} gave it {left:?}", node.name);
            Ok(())
        })
        .await?;
    }
    cluster.finish().await
}

/// Says how long calls to a group may take.
async fn limit(node: &Node, group: &str, default_ms: Option<u64>, max_ms: Option<u64>) -> anyhow::Result<()> {
    let policy = GroupPolicy {
        group: group.into(),
        default_timeout: default_ms.and_then(millis),
        max_timeout: max_ms.and_then(millis),
        ..Default::default()
    };
    let request = SetGroupPolicyRequest { policy: Some(policy) };
    node.api()?.registry.set_group_policy(request).await?;
    Ok(())
}

/// How much time a device is given for a call, which it answers at once. On a busy machine that may be too late, or the
/// call never reaches it: then it is made again.
async fn time_given(node: &Node, device: &mut RawDevice, request: InvokeRequest) -> anyhow::Result<Duration> {
    loop {
        let asked = invoke(node, request.clone())?;
        tokio::select! {
            given = called(device) => {
                let given = given?;
                device.say(1, result_of(&given)).await?;
                let _ = asked.await?;
                return Ok(Duration::try_from(given.remaining.unwrap_or_default())?);
            }
            () = tokio::time::sleep(2 * MAXIMUM) => {}
        }
    }
}

/// The next call; what is said of earlier ones is passed over.
async fn called(device: &mut RawDevice) -> anyhow::Result<device::Call> {
    loop {
        match device.hear().await? {
            Some((_, Down::Call(call))) => return Ok(*call),
            Some((_, Down::Cancel(_))) => {}
            other => bail!("no call, but {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_device_is_told_how_much_time_is_left() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let (holder, caller) = (&cluster.nodes[0], &cluster.nodes[1]);
    let (mut device, _) = RawDevice::attached(&holder.device_url(), &RawProfile::new("told", "told")).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let first = invoke(caller, InvokeRequest { timeout: millis(1_900), ..call("told", "echo") })?;
    let given = next_call(&mut device).await?;
    // The second waits behind the first, and has less time left when it is given.
    let begun = Instant::now();
    let second = invoke(caller, InvokeRequest { timeout: millis(1_900), ..call("told", "echo") })?;
    ensure!(device.hear_within(Duration::from_millis(800)).await.is_err(), "one call at a time");
    device.say(1, result_of(&given)).await?;
    let later = next_call(&mut device).await?;
    let waited = begun.elapsed();
    device.say(1, result_of(&later)).await?;
    first.await??;
    second.await??;
    let left = |call: &device::Call| Duration::try_from(call.remaining.unwrap_or_default());
    let (at_first, later) = (left(&given)?, left(&later)?);
    ensure!(
        at_first <= Duration::from_millis(1_900) && at_first > Duration::from_millis(900),
        "{at_first:?}"
    );
    let least = Duration::from_millis(1_900).saturating_sub(waited);
    // On a busy machine it may have reached its node some time after it was sent; not most of what it waited.
    ensure!(later <= Duration::from_millis(1_700) && later >= least, "{later:?} left after {waited:?}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_time_ran_out_in_the_queue_is_never_given() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let holder = &cluster.nodes[2];
    let (mut device, _) =
        RawDevice::attached(&holder.device_url(), &RawProfile::new("queued", "queued")).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    for through in &cluster.nodes {
        let first = invoke(through, InvokeRequest { timeout: millis(1_900), ..call("queued", "echo") })?;
        let given = next_call(&mut device).await?;
        let waiting = InvokeRequest { timeout: millis(300), ..call("queued", "echo") };
        let (late, _) = refused(through, waiting).await?;
        ensure!(late.code == Code::DeadlineExceeded && late.reason == "DEADLINE", "{late:?}");
        // Elsewhere than at the holder, its word may come too late on a busy machine.
        let said = late.outcome == "NOT_EXECUTED" && late.metadata["stage"] == "queue";
        ensure!(said || through.name != holder.name, "{late:?}");
        device.say(1, result_of(&given)).await?;
        first.await??;
        ensure!(device.hear_within(Duration::from_millis(300)).await.is_err(), "it was given all the same");
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_device_to_connect_is_part_of_the_time() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    for device_id in ["", "absent"] {
        let waiting = InvokeRequest {
            device_id: device_id.into(),
            connect_wait: millis(60_000),
            timeout: millis(400),
            ..call("absent", "echo")
        };
        let (late, took) = refused(&cluster.nodes[0], waiting).await?;
        ensure!(late.brief() == (Code::DeadlineExceeded, "DEADLINE", "NOT_EXECUTED"), "{late:?}");
        ensure!(late.metadata["stage"] == "queue" && took < MAXIMUM, "{late:?} after {took:?}");
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_too_late_is_counted_and_frees_the_device() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let (holder, caller) = (&cluster.nodes[1], &cluster.nodes[0]);
    let (mut device, _) =
        RawDevice::attached(&holder.device_url(), &RawProfile::new("tardy", "tardy")).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let late_before = metric(holder, "rollcall_late_replies_total").await?;
    let waiting = invoke(caller, InvokeRequest { timeout: millis(400), ..call("tardy", "echo") })?;
    let given = next_call(&mut device).await?;
    let late = refusal(waiting.await?)?;
    ensure!(late.brief() == (Code::DeadlineExceeded, "DEADLINE", "UNKNOWN"), "{late:?}");
    match device.hear().await?.context("the connection ended")? {
        (_, Down::Cancel(cancel)) => ensure!(cancel.tag == given.tag, "another call is cancelled"),
        other => bail!("no Cancel, but {other:?}"),
    }
    // Its place is taken until it says so: another call has to wait, and is given once the late answer is there.
    let next = invoke(caller, InvokeRequest { timeout: millis(1_900), ..call("tardy", "echo") })?;
    ensure!(
        device.hear_within(Duration::from_millis(300)).await.is_err(),
        "its handler may still be running"
    );
    device.say(1, result_of(&given)).await?;
    let second = next_call(&mut device).await?;
    device.say(1, result_of(&second)).await?;
    next.await??;
    wait_until("the late answer is counted", SPREAD_PATIENCE, async || {
        let late = metric(holder, "rollcall_late_replies_total").await?;
        ensure!(late == late_before + 1.0, "{late} instead of {late_before} and one");
        Ok(())
    })
    .await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_calls_have_ended_none_is_in_flight() -> anyhow::Result<()> {
    let cluster = ClusterPlan::of(2).beside_another().start().await?;
    let device = Lab::new("busy", "busy").capacity(20).attach(&[cluster.nodes[0].device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let mut calls = Vec::new();
    for number in 0..30 {
        let timeout = millis(200 + 10 * number);
        calls.push(invoke(&cluster.nodes[number as usize % 2], InvokeRequest { timeout, ..sleep("busy") })?);
    }
    wait_until("the device is full", SPREAD_PATIENCE, async || {
        ensure!(device.most_at_once() > 0, "nothing runs");
        Ok(())
    })
    .await?;
    calls.drain(..10).for_each(|call| call.abort());
    for call in calls {
        ensure!(call.await?.is_err(), "a call for a minute was answered");
    }
    wait_until("nothing is in flight", SPREAD_PATIENCE, async || {
        for node in &cluster.nodes {
            let in_flight = metric(node, "rollcall_calls_in_flight").await?;
            ensure!(in_flight == 0.0, "{in_flight} calls on {}", node.name);
        }
        Ok(())
    })
    .await?;
    device.runs(0).await?;
    cluster.finish().await
}
