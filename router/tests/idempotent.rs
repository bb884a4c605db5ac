//! Idempotent calls: tried again by themselves, executed once at a time, answered from what is kept.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod world;

use std::time::Duration;

use bytes::Bytes;
use rollcall_proto::device::attach_response::Frame as Down;
use rollcall_registry::model::ids::NodeId;
use rollcall_router::{Call, Failure, Outcome, Reason, Reply, Router};
use tokio::task::JoinHandle;
use world::{
    Cluster,
    agent::{Agent, attach, profile},
    call, call_to, call_within,
    registrar::FakeRegistrar,
    wait_until,
};

fn invoke(router: &Router<FakeRegistrar>, call: Call) -> JoinHandle<Result<Reply, Failure>> {
    let router = router.clone();
    tokio::spawn(async move { router.invoke(call).await })
}

async fn failure(call: JoinHandle<Result<Reply, Failure>>) -> Failure {
    call.await.expect("the task ends").expect_err("the call fails")
}

async fn reply(call: JoinHandle<Result<Reply, Failure>>) -> Reply {
    call.await.expect("the task ends").expect("the call succeeds")
}

fn named(request_id: &str, payload: &'static str) -> Call {
    Call {
        idempotent: true,
        request_id: request_id.into(),
        payload: Bytes::from_static(payload.as_bytes()),
        ..call_to("d")
    }
}

async fn in_flight(cluster: &Cluster, node: u64, calls: usize) {
    wait_until("the calls are in flight", || cluster.router(node).calls_in_flight() == calls).await;
}

#[tokio::test]
async fn the_same_call_twice_is_executed_once_whichever_way_it_came() {
    let cluster = Cluster::start(3).await;
    let mut agent = Agent::attached(cluster.router(2), "d", 4).await;
    let first = invoke(cluster.router(1), named("r", "x"));
    let received = agent.next_call().await;
    let more: Vec<_> = (1..=3).map(|node| invoke(cluster.router(node), named("r", "x"))).collect();
    assert!(agent.hears_nothing().await, "it runs already");
    agent.answer(1, &received, Bytes::from_static(b"y")).await;
    assert_eq!(&reply(first).await.payload[..], b"y");
    for waiting in more {
        assert_eq!(&reply(waiting).await.payload[..], b"y");
    }
    let replayed = reply(invoke(cluster.router(3), named("r", "x"))).await;
    assert_eq!((&replayed.payload[..], replayed.epoch.0), (&b"y"[..], received.epoch));
    assert!(agent.hears_nothing().await, "it ran already");
}

#[tokio::test]
async fn a_request_id_belongs_to_its_payload() {
    let cluster = Cluster::start(2).await;
    let mut agent = Agent::attached(cluster.router(2), "d", 4).await;
    let first = invoke(cluster.router(1), named("r", "x"));
    let received = agent.next_call().await;
    for node in 1..=2 {
        let failed = failure(invoke(cluster.router(node), named("r", "other"))).await;
        assert_eq!((failed.reason, failed.outcome), (Reason::RequestIdConflict, Outcome::NotExecuted));
    }
    agent.answer(1, &received, Bytes::new()).await;
    reply(first).await;
    let failed = failure(invoke(cluster.router(1), named("r", "other"))).await;
    assert_eq!(failed.reason, Reason::RequestIdConflict);
    assert!(agent.hears_nothing().await);
}

#[tokio::test]
async fn calls_that_are_not_idempotent_are_calls_of_their_own() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 4).await;
    let calls: Vec<_> = (0..2).map(|_| invoke(cluster.router(1), call_to("d"))).collect();
    for _ in 0..2 {
        let received = agent.next_call().await;
        agent.answer(1, &received, Bytes::new()).await;
    }
    for call in calls {
        reply(call).await;
    }
}

#[tokio::test]
async fn the_handler_runs_on_while_anybody_waits() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 4).await;
    let first = invoke(cluster.router(1), named("r", "x"));
    let received = agent.next_call().await;
    let second = invoke(cluster.router(1), named("r", "x"));
    in_flight(&cluster, 1, 2).await;
    assert!(agent.hears_nothing().await);
    first.abort();
    assert!(agent.hears_nothing().await, "one still waits");
    second.abort();
    match agent.next().await {
        Down::Cancel(cancel) => assert_eq!(cancel.tag, received.tag),
        other => panic!("expected Cancel, got {other:?}"),
    }
}

#[tokio::test]
async fn a_call_whose_link_broke_finds_its_own_execution() {
    let cluster = Cluster::start(3).await;
    let mut agent = Agent::attached(cluster.router(2), "d", 4).await;
    let waiting = invoke(cluster.router(1), named("r", "x"));
    let received = agent.next_call().await;
    cluster.cut(2);
    wait_until("the link is down", || cluster.router(1).link(NodeId(2)).is_some_and(|link| !link.up)).await;
    cluster.mend(2);
    wait_until("the link is up", || cluster.router(1).link(NodeId(2)).is_some_and(|link| link.up)).await;
    assert!(agent.hears_nothing().await, "neither a Cancel nor the call again");
    agent.answer(1, &received, Bytes::from_static(b"y")).await;
    let reply = reply(waiting).await;
    assert_eq!((&reply.payload[..], reply.attempts), (&b"y"[..], 2));
}

#[tokio::test]
async fn what_the_callers_node_took_with_it_is_found_through_another_one() {
    let cluster = Cluster::start(3).await;
    let mut agent = Agent::attached(cluster.router(2), "d", 4).await;
    let lost = invoke(cluster.router(1), named("r", "x"));
    let received = agent.next_call().await;
    // The proxy in front of node 2 carries node 1's link.
    cluster.cut(2);
    lost.abort();
    cluster.mend(2);
    wait_until("the link is up", || cluster.router(3).link(NodeId(2)).is_some_and(|link| link.up)).await;
    let again = invoke(cluster.router(3), named("r", "x"));
    assert!(agent.hears_nothing().await, "it runs already");
    agent.answer(1, &received, Bytes::from_static(b"y")).await;
    assert_eq!(&reply(again).await.payload[..], b"y");
}

#[tokio::test]
async fn a_call_of_a_lost_session_is_tried_again_in_the_next_one() {
    let cluster = Cluster::start(2).await;
    let mut agent = Agent::connect(cluster.router(2)).await;
    agent.attach(1, attach("d", 5, 1, profile(1))).await;
    let waiting = invoke(cluster.router(1), named("r", "x"));
    agent.next_call().await;
    drop(agent);
    // Another agent process: nobody can say what the former one did.
    let mut agent = Agent::connect(cluster.router(2)).await;
    let attached = agent.attach(1, attach("d", 6, 1, profile(1))).await;
    let received = agent.next_call().await;
    assert_eq!(received.epoch, attached.epoch);
    agent.answer(1, &received, Bytes::from_static(b"y")).await;
    let reply = reply(waiting).await;
    assert_eq!((&reply.payload[..], reply.epoch.0), (&b"y"[..], attached.epoch));
}

#[tokio::test]
async fn a_groups_call_is_tried_again_on_another_device() {
    let cluster = Cluster::start(2).await;
    let mut first = Agent::attached(cluster.router(1), "d1", 1).await;
    let waiting = invoke(cluster.router(1), Call { idempotent: true, ..call() });
    first.next_call().await;
    let mut second = Agent::attached(cluster.router(2), "d2", 1).await;
    drop(first);
    let received = second.next_call().await;
    second.answer(1, &received, Bytes::new()).await;
    assert_eq!(reply(waiting).await.device_id, "d2");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_does_not_come_back_leaves_the_outcome_unknown() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 1).await;
    let waiting =
        invoke(cluster.router(1), Call { idempotent: true, ..call_within("d", Duration::from_secs(60)) });
    agent.next_call().await;
    drop(agent);
    let failed = failure(waiting).await;
    assert_eq!((failed.reason, failed.outcome), (Reason::DeviceLost, Outcome::Unknown));
}
