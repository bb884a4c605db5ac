//! Devices that lose their connection with calls in flight, and come back: to their session, or to another node.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod world;

use std::time::Duration;

use bytes::Bytes;
use rollcall_proto::device::{self, Attached, attach_request::Frame as Up, attach_response::Frame as Down};
use rollcall_registry::{Registrar, model::ids::NodeId, routes::view::Route};
use rollcall_router::{Call, Failure, Outcome, Reason, Reply, Router, RouterConfig};
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

fn holder(cluster: &Cluster, seen_from: u64) -> Option<NodeId> {
    match cluster.registrar(seen_from).routes().route("default", "d") {
        Route::Held { session, .. } => Some(session.node),
        Route::NotConnected | Route::Disabled { .. } => None,
    }
}

/// A device with instance 5 on a node.
async fn device(cluster: &Cluster, node: u64, capacity: u32) -> (Agent, Attached) {
    let mut agent = Agent::connect(cluster.router(node)).await;
    let attached = agent.attach(1, attach("d", 5, 1, profile(capacity))).await;
    assert!(!attached.resumed);
    (agent, attached)
}

/// The next attach of the same agent, which has lost its connection and names all its calls.
fn again(former: &Attached, number: u64, capacity: u32) -> device::Attach {
    device::Attach {
        cluster_id: former.cluster_id.clone(),
        newest_epoch: former.epoch,
        resume_token: former.resume_token.clone(),
        lists_all: true,
        ..attach("d", 5, number, profile(capacity))
    }
}

/// Answers a call by its token alone, as a device does that got it on an earlier connection.
async fn replay(agent: &mut Agent, call: &device::Call, payload: &'static [u8]) {
    let call = device::Call { tag: 0, ..call.clone() };
    agent.answer(1, &call, Bytes::from_static(payload)).await;
}

async fn in_flight(cluster: &Cluster, node: u64, calls: usize) {
    wait_until("the calls are in flight", || cluster.router(node).calls_in_flight() == calls).await;
}

#[tokio::test]
async fn a_device_that_comes_back_goes_on_with_its_session_and_its_calls() {
    let cluster = Cluster::start(2).await;
    let (mut agent, first) = device(&cluster, 2, 2).await;
    let here = invoke(cluster.router(2), call_to("d"));
    let received_here = agent.next_call().await;
    let there = invoke(cluster.router(1), call_to("d"));
    let received_there = agent.next_call().await;
    drop(agent);
    let before = cluster.log.index();
    for node in [1, 2] {
        let failed = failure(invoke(cluster.router(node), call_to("d"))).await;
        assert_eq!((failed.reason, failed.outcome), (Reason::NotConnected, Outcome::NotExecuted));
        assert_eq!(failure(invoke(cluster.router(node), call())).await.outcome, Outcome::NotExecuted);
    }
    let patient = Call { connect_wait: Duration::from_secs(5), ..call_to("d") };
    let patient = invoke(cluster.router(1), patient);
    in_flight(&cluster, 1, 2).await;

    let mut agent = Agent::connect(cluster.router(2)).await;
    let mut attach = again(&first, 2, 2);
    attach.running = vec![received_here.token.clone()];
    attach.finished = vec![received_there.token.clone()];
    let second = agent.attach(1, attach).await;
    assert!(second.resumed && second.replay);
    assert_eq!((second.epoch, &second.resume_token), (first.epoch, &first.resume_token));
    assert_eq!(cluster.log.index(), before, "nothing was committed");
    replay(&mut agent, &received_there, b"kept").await;
    assert_eq!(&reply(there).await.payload[..], b"kept");
    let received = agent.next_call().await;
    agent.answer(1, &received, Bytes::new()).await;
    reply(patient).await;
    replay(&mut agent, &received_here, b"done").await;
    let reply = reply(here).await;
    assert_eq!((&reply.payload[..], reply.epoch.0), (&b"done"[..], first.epoch));
    assert!(reply.timings.device.is_some());
    // Twice the same is once too often.
    replay(&mut agent, &received_here, b"again").await;
    assert!(agent.hears_nothing().await);
}

#[tokio::test]
async fn a_long_result_comes_back_in_chunks() {
    let cluster = Cluster::start(1).await;
    let (mut agent, first) = device(&cluster, 1, 1).await;
    let waiting = invoke(cluster.router(1), call_to("d"));
    let received = agent.next_call().await;
    drop(agent);
    let mut agent = Agent::connect(cluster.router(1)).await;
    let mut attach = again(&first, 2, 1);
    attach.finished = vec![received.token.clone()];
    assert!(agent.attach(1, attach).await.resumed);
    let payload = Bytes::from(vec![7; 500_000]);
    agent.answer(1, &device::Call { tag: 0, ..received }, payload.clone()).await;
    assert_eq!(reply(waiting).await.payload, payload);
}

#[tokio::test]
async fn what_a_returning_device_does_not_name_was_never_begun() {
    let cluster = Cluster::start(1).await;
    let (mut agent, first) = device(&cluster, 1, 3).await;
    let mut calls = Vec::new();
    for _ in 0..3 {
        let waiting = invoke(cluster.router(1), call_to("d"));
        calls.push((agent.next_call().await, waiting));
    }
    drop(agent);
    let mut agent = Agent::connect(cluster.router(1)).await;
    let mut attach = again(&first, 2, 3);
    attach.running = vec![calls[0].0.token.clone()];
    attach.gone = vec![calls[1].0.token.clone()];
    assert!(agent.attach(1, attach).await.resumed);
    let (_, never) = calls.pop().expect("three calls");
    let never = failure(never).await;
    assert_eq!((never.reason, never.outcome), (Reason::DeviceLost, Outcome::NotExecuted));
    let (_, gone) = calls.pop().expect("two calls");
    let gone = failure(gone).await;
    assert_eq!((gone.reason, gone.outcome), (Reason::ReplyLost, Outcome::Executed));
    let (received, running) = calls.pop().expect("a call");
    replay(&mut agent, &received, b"x").await;
    reply(running).await;
}

#[tokio::test]
async fn a_device_may_come_back_before_its_loss_is_noticed() {
    let cluster = Cluster::start(1).await;
    let (mut old, first) = device(&cluster, 1, 1).await;
    let waiting = invoke(cluster.router(1), call_to("d"));
    let received = old.next_call().await;
    let mut agent = Agent::connect(cluster.router(1)).await;
    let mut attach = again(&first, 2, 1);
    attach.running = vec![received.token.clone()];
    assert!(agent.attach(1, attach).await.resumed);
    drop(old);
    replay(&mut agent, &received, b"x").await;
    assert_eq!(&reply(waiting).await.payload[..], b"x");
    assert_eq!(cluster.router(1).device_count(), 1);
}

#[tokio::test]
async fn a_caller_who_gives_up_meanwhile_stops_the_handler_after_the_return() {
    let cluster = Cluster::start(2).await;
    let (mut agent, first) = device(&cluster, 2, 1).await;
    let waiting = invoke(cluster.router(1), call_to("d"));
    let received = agent.next_call().await;
    drop(agent);
    waiting.abort();
    in_flight(&cluster, 1, 0).await;
    let mut agent = Agent::connect(cluster.router(2)).await;
    let mut attach = again(&first, 2, 1);
    attach.running = vec![received.token.clone()];
    assert!(agent.attach(1, attach).await.resumed);
    match agent.next().await {
        Down::Cancel(cancel) => assert_eq!((cancel.tag, &cancel.token), (0, &received.token)),
        other => panic!("expected Cancel, got {other:?}"),
    }
    let next = invoke(cluster.router(1), call_to("d"));
    assert!(agent.hears_nothing().await, "the handler still has the place");
    let cancelled = device::Cancelled { tag: 0, executed: true, token: received.token };
    let _ = agent.say(1, Up::Cancelled(cancelled)).await;
    let received = agent.next_call().await;
    agent.answer(1, &received, Bytes::new()).await;
    reply(next).await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_stays_away_leaves_the_outcome_unknown() {
    let cluster = Cluster::start(1).await;
    let (mut agent, _) = device(&cluster, 1, 1).await;
    let executing = invoke(cluster.router(1), call_within("d", Duration::from_secs(60)));
    agent.next_call().await;
    let queued = invoke(cluster.router(1), call_within("d", Duration::from_secs(60)));
    in_flight(&cluster, 1, 2).await;
    let lost = tokio::time::Instant::now();
    drop(agent);
    let queued = failure(queued).await;
    assert_eq!((queued.reason, queued.outcome), (Reason::DeviceLost, Outcome::NotExecuted));
    assert!(lost.elapsed() < Duration::from_secs(1), "it surely was not sent");
    assert_eq!(holder(&cluster, 1), Some(NodeId(1)), "it may come back");
    let executing = failure(executing).await;
    assert_eq!((executing.reason, executing.outcome), (Reason::DeviceLost, Outcome::Unknown));
    assert!(lost.elapsed() >= RouterConfig::default().resume_window);
    assert_eq!(holder(&cluster, 1), None);
    assert_eq!(cluster.router(1).device_count(), 0);
}

#[tokio::test]
async fn another_process_of_the_device_ends_the_calls_at_once() {
    let cluster = Cluster::start(3).await;
    for node in [2, 3] {
        let (mut agent, _) = device(&cluster, 2, 2).await;
        let here = invoke(cluster.router(2), call_to("d"));
        agent.next_call().await;
        let there = invoke(cluster.router(1), call_to("d"));
        agent.next_call().await;
        drop(agent);
        let mut other = Agent::connect(cluster.router(node)).await;
        other.attach(1, attach("d", 6, 1, profile(1))).await;
        for call in [here, there] {
            let failed = failure(call).await;
            assert_eq!((failed.reason, failed.outcome), (Reason::DeviceLost, Outcome::Unknown));
        }
        other.finish();
        wait_until("the device is gone", || holder(&cluster, 2).is_none()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_of_another_device_or_session_resumes_nothing() {
    let cluster = Cluster::start(1).await;
    let mut thief = Agent::connect(cluster.router(1)).await;
    let foreign = thief.attach(1, attach("e", 5, 1, profile(1))).await;
    let (mut agent, first) = device(&cluster, 1, 1).await;
    let waiting = invoke(cluster.router(1), call_within("d", Duration::from_secs(60)));
    let received = agent.next_call().await;
    drop(agent);
    let mut agent = Agent::connect(cluster.router(1)).await;
    let mut attach = again(&first, 2, 1);
    attach.resume_token = foreign.resume_token;
    attach.finished = vec![received.token.clone()];
    let second = agent.attach(1, attach).await;
    assert!(!second.resumed && !second.replay && second.epoch > first.epoch);
    replay(&mut agent, &received, b"forged").await;
    let failed = failure(waiting).await;
    assert_eq!((failed.reason, failed.outcome), (Reason::DeviceLost, Outcome::Unknown));
}

#[tokio::test]
async fn a_device_that_offers_something_else_gets_a_new_session_and_keeps_its_calls() {
    let cluster = Cluster::start(1).await;
    let (mut agent, first) = device(&cluster, 1, 1).await;
    let waiting = invoke(cluster.router(1), call_to("d"));
    let received = agent.next_call().await;
    drop(agent);
    let mut agent = Agent::connect(cluster.router(1)).await;
    let mut attach = again(&first, 2, 4);
    attach.running = vec![received.token.clone()];
    let second = agent.attach(1, attach).await;
    assert!(!second.resumed && second.replay && second.epoch > first.epoch);
    replay(&mut agent, &received, b"x").await;
    assert_eq!(&reply(waiting).await.payload[..], b"x");
}

#[tokio::test]
async fn a_call_outlives_its_devices_move_to_another_node() {
    let cluster = Cluster::start(3).await;
    let (mut agent, first) = device(&cluster, 2, 4).await;
    let mut calls = Vec::new();
    for origin in 1..=3 {
        let waiting = invoke(cluster.router(origin), call_to("d"));
        calls.push((agent.next_call().await, waiting));
    }
    let never = invoke(cluster.router(1), call_to("d"));
    agent.next_call().await;
    drop(agent);
    let mut agent = Agent::connect(cluster.router(3)).await;
    let mut attach = again(&first, 2, 4);
    attach.running = calls.iter().map(|(call, _)| call.token.clone()).collect();
    let second = agent.attach(1, attach).await;
    assert!(!second.resumed && second.replay && second.epoch > first.epoch);
    let never = failure(never).await;
    assert_eq!((never.reason, never.outcome), (Reason::DeviceLost, Outcome::NotExecuted));
    for (received, waiting) in calls {
        replay(&mut agent, &received, b"x").await;
        let reply = reply(waiting).await;
        assert_eq!((&reply.payload[..], reply.node.as_str()), (&b"x"[..], "n3"));
        assert_eq!(reply.epoch.0, first.epoch, "of the session that executed it");
    }
    for node in 1..=3 {
        assert_eq!(cluster.router(node).calls_in_flight(), 0);
    }
}

#[tokio::test]
async fn a_long_result_finds_its_caller_by_another_node() {
    let cluster = Cluster::start(3).await;
    let (mut agent, first) = device(&cluster, 2, 1).await;
    let waiting = invoke(cluster.router(1), call_to("d"));
    let received = agent.next_call().await;
    drop(agent);
    let mut agent = Agent::connect(cluster.router(3)).await;
    let mut attach = again(&first, 2, 1);
    attach.finished = vec![received.token.clone()];
    agent.attach(1, attach).await;
    let payload = Bytes::from(vec![7; 500_000]);
    agent.answer(1, &device::Call { tag: 0, ..received }, payload.clone()).await;
    assert_eq!(reply(waiting).await.payload, payload);
}

#[tokio::test]
async fn a_call_outlives_the_node_that_held_its_device() {
    let cluster = Cluster::start(3).await;
    let (mut agent, first) = device(&cluster, 2, 4).await;
    let named = invoke(cluster.router(1), call_to("d"));
    let received_named = agent.next_call().await;
    let grouped = invoke(cluster.router(1), call());
    let received_grouped = agent.next_call().await;
    let never = invoke(cluster.router(1), call_to("d"));
    agent.next_call().await;
    // The holder says whom it picked only of calls that last.
    let told = || cluster.router(1).link(NodeId(2)).is_some_and(|link| link.picked == 1);
    wait_until("the holder says which device has the group's call", told).await;
    cluster.cut(2);
    drop(agent);
    cluster.down(2);
    let mut agent = Agent::connect(cluster.router(3)).await;
    let mut attach = again(&first, 2, 4);
    attach.running = vec![received_named.token.clone(), received_grouped.token.clone()];
    agent.attach(1, attach).await;
    let never = failure(never).await;
    assert_eq!((never.reason, never.outcome), (Reason::DeviceLost, Outcome::NotExecuted));
    replay(&mut agent, &received_named, b"x").await;
    replay(&mut agent, &received_grouped, b"y").await;
    assert_eq!(&reply(named).await.payload[..], b"x");
    assert_eq!(&reply(grouped).await.payload[..], b"y");
}

#[tokio::test]
async fn an_answer_is_taken_only_from_the_device_that_has_the_call() {
    let cluster = Cluster::start(3).await;
    let (mut agent, first) = device(&cluster, 2, 1).await;
    let waiting = invoke(cluster.router(1), call_to("d"));
    let received = agent.next_call().await;
    // Another device, which had a session of its own before and now claims the call.
    let mut thief = Agent::connect(cluster.router(3)).await;
    let own = thief.attach(1, attach("e", 9, 1, profile(1))).await;
    thief.finish();
    let mut thief = Agent::connect(cluster.router(3)).await;
    let claim = device::Attach { device_id: "e".into(), instance: 9, ..again(&own, 2, 1) };
    assert!(thief.attach(1, claim).await.replay);
    replay(&mut thief, &received, b"forged").await;
    assert!(thief.hears_nothing().await);
    assert!(!waiting.is_finished());
    drop(agent);
    let mut agent = Agent::connect(cluster.router(2)).await;
    let mut attach = again(&first, 2, 1);
    attach.finished = vec![received.token.clone()];
    agent.attach(1, attach).await;
    replay(&mut agent, &received, b"true").await;
    assert_eq!(&reply(waiting).await.payload[..], b"true");
}

#[tokio::test]
async fn calls_of_former_sessions_take_up_the_devices_capacity() {
    let cluster = Cluster::start(2).await;
    let (mut agent, first) = device(&cluster, 2, 1).await;
    let former = invoke(cluster.router(1), call_to("d"));
    let received = agent.next_call().await;
    drop(agent);
    let mut agent = Agent::connect(cluster.router(1)).await;
    let mut attach = again(&first, 2, 1);
    attach.running = vec![received.token.clone()];
    agent.attach(1, attach).await;
    let next = invoke(cluster.router(2), call_to("d"));
    assert!(agent.hears_nothing().await, "the device runs as much as it may");
    replay(&mut agent, &received, b"x").await;
    reply(former).await;
    let received = agent.next_call().await;
    agent.answer(1, &received, Bytes::new()).await;
    reply(next).await;
}
