//! InvokeStream: many calls in flight on one stream, answered in any order, failing one by one.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use bytes::Bytes;
use rollcall_cluster_tests::{ClusterPlan, Lab, Node, SPREAD_PATIENCE, SharedCluster, call};
use rollcall_proto::api::{
    CancelCall, InvokeRequest, InvokeStreamRequest, InvokeStreamResponse, Outcome, Reason,
    invoke_stream_request::Kind, invoke_stream_response::Result as Answer,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

static CLUSTER: SharedCluster = SharedCluster::new(|| ClusterPlan::of(3));

/// A stream to a node: where to send, and where answers come.
struct Calls {
    send: mpsc::Sender<InvokeStreamRequest>,
    answers: Streaming<InvokeStreamResponse>,
}

impl Calls {
    async fn open(node: &Node) -> anyhow::Result<Self> {
        let (send, requests) = mpsc::channel(1_024);
        let answers = node.api()?.invoke.invoke_stream(ReceiverStream::new(requests)).await?.into_inner();
        Ok(Self { send, answers })
    }

    async fn call(&self, tag: u64, request: InvokeRequest) -> anyhow::Result<()> {
        Ok(self.send.send(InvokeStreamRequest { tag, kind: Some(Kind::Call(request.into())) }).await?)
    }

    async fn next(&mut self) -> anyhow::Result<(u64, Answer)> {
        let answer = timeout(SPREAD_PATIENCE, self.answers.message()).await.context("no answer comes")??;
        let answer = answer.context("the stream ended")?;
        Ok((answer.tag, answer.result.context("an answer with nothing in it")?))
    }
}

fn echo(group: &str, payload: &str) -> InvokeRequest {
    InvokeRequest { payload: Bytes::from(payload.to_owned()), ..call(group, "echo") }
}

fn sleep(group: &str, milliseconds: u32) -> InvokeRequest {
    InvokeRequest { payload: Bytes::from(milliseconds.to_string()), ..call(group, "sleep") }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_share_a_stream_and_each_gets_its_own_answer() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let device = Lab::new("streamed", "streamed").capacity(2_000);
    let _device = device.attach(&[cluster.nodes[1].device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let mut calls = Calls::open(&cluster.nodes[0]).await?;
    let send = calls.send.clone();
    let sender = tokio::spawn(async move {
        for tag in 0..2_000_u64 {
            let request = echo("streamed", &tag.to_string());
            send.send(InvokeStreamRequest { tag, kind: Some(Kind::Call(request.into())) }).await?;
        }
        anyhow::Ok(())
    });
    let mut seen = BTreeMap::new();
    while seen.len() < 2_000 {
        match calls.next().await? {
            (tag, Answer::Response(answer)) => {
                ensure!(answer.payload == tag.to_string(), "tag {tag} got {:?}", answer.payload);
                ensure!(seen.insert(tag, ()).is_none(), "tag {tag} was answered twice");
            }
            (tag, Answer::Failure(failure)) => anyhow::bail!("tag {tag} failed: {failure:?}"),
        }
    }
    sender.await??;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quick_call_overtakes_a_slow_one() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let _device = Lab::new("passing", "passing").capacity(2).attach(&[cluster.nodes[2].device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let mut calls = Calls::open(&cluster.nodes[0]).await?;
    calls.call(1, sleep("passing", 700)).await?;
    calls.call(2, echo("passing", "quick")).await?;
    let order = [calls.next().await?.0, calls.next().await?.0];
    ensure!(order == [2, 1], "answered in the order {order:?}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_call_does_not_end_the_stream() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let _device = Lab::new("sturdy", "sturdy").attach(&[cluster.nodes[0].device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let mut calls = Calls::open(&cluster.nodes[1]).await?;
    let broken = [
        (call("nobody-here", "echo"), Reason::NoDevice),
        (call("sturdy", "dance"), Reason::ActionUnknown),
        (call("", "echo"), Reason::InvalidArgument),
        (InvokeRequest { device_id: "nobody".into(), ..call("sturdy", "echo") }, Reason::NotConnected),
    ];
    for (tag, (request, reason)) in (1..).zip(broken) {
        calls.call(tag, request).await?;
        match calls.next().await? {
            (answered, Answer::Failure(failure)) if answered == tag => {
                ensure!(failure.reason() == reason, "{failure:?} instead of {reason:?}");
                ensure!(failure.outcome() == Outcome::NotExecuted, "{failure:?}");
            }
            other => anyhow::bail!("tag {tag} got {other:?}"),
        }
    }
    calls.call(99, echo("sturdy", "still here")).await?;
    match calls.next().await? {
        (99, Answer::Response(answer)) => ensure!(answer.payload == "still here", "{answer:?}"),
        other => anyhow::bail!("{other:?}"),
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_on_a_stream_can_be_cancelled_by_its_tag() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let device = Lab::new("stopped", "stopped").capacity(2).attach(&[cluster.nodes[2].device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let mut calls = Calls::open(&cluster.nodes[0]).await?;
    calls.call(7, sleep("stopped", 60_000)).await?;
    device.runs(1).await?;
    calls.send.send(InvokeStreamRequest { tag: 7, kind: Some(Kind::Cancel(CancelCall {})) }).await?;
    match calls.next().await? {
        (7, Answer::Failure(failure)) => {
            ensure!(failure.reason() == Reason::Cancelled, "{failure:?}");
            ensure!(failure.outcome() != Outcome::NotExecuted, "the handler had started: {failure:?}");
        }
        other => anyhow::bail!("{other:?}"),
    }
    device.runs(0).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_the_sending_side_lets_calls_in_flight_finish() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let _device = Lab::new("tidy", "tidy").capacity(5).attach(&[cluster.nodes[1].device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let Calls { send, mut answers } = Calls::open(&cluster.nodes[0]).await?;
    for tag in 0..5 {
        let kind = Some(Kind::Call(sleep("tidy", 300).into()));
        send.send(InvokeStreamRequest { tag, kind }).await?;
    }
    drop(send);
    let mut done = 0;
    while let Some(answer) = timeout(SPREAD_PATIENCE, answers.message()).await?? {
        ensure!(matches!(answer.result, Some(Answer::Response(_))), "{answer:?}");
        done += 1;
    }
    ensure!(done == 5, "{done} answers");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_bound_are_refused_under_their_tags_and_the_stream_goes_on() -> anyhow::Result<()> {
    const BOUND: u64 = 10_000;
    let cluster = CLUSTER.visit().await?;
    let device = Lab::new("crowded", "crowded").capacity(20_000);
    let device = device.attach(&[cluster.nodes[0].device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let mut calls = Calls::open(&cluster.nodes[0]).await?;
    for tag in 0..BOUND {
        calls.call(tag, sleep("crowded", 20_000)).await?;
    }
    device.runs(BOUND as usize).await?;
    for tag in BOUND..BOUND + 20 {
        calls.call(tag, echo("crowded", "one more")).await?;
        match calls.next().await? {
            (answered, Answer::Failure(failure)) if answered == tag => {
                ensure!(failure.reason() == Reason::Overloaded, "{failure:?}");
                ensure!(failure.outcome() == Outcome::NotExecuted, "{failure:?}");
            }
            other => anyhow::bail!("tag {tag} got {other:?}"),
        }
    }
    // One goes, and there is room for one.
    calls.send.send(InvokeStreamRequest { tag: 5, kind: Some(Kind::Cancel(CancelCall {})) }).await?;
    ensure!(calls.next().await?.0 == 5, "the cancelled call is answered");
    calls.call(BOUND, echo("crowded", "still here")).await?;
    match calls.next().await? {
        (BOUND, Answer::Response(answer)) => ensure!(answer.payload == "still here", "{answer:?}"),
        other => anyhow::bail!("{other:?}"),
    }
    ensure!(device.started() as u64 == BOUND + 1, "{} handlers started", device.started());
    cluster.finish().await
}
