//! One node, and how its device sessions end: lost, superseded, closed, cut, drained.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod world;

use std::time::Duration;

use bytes::Bytes;
use rollcall_proto::device::{self, CloseCode, attach_request::Frame as Up, attach_response::Frame as Down};
use rollcall_registry::{
    Registrar,
    model::ids::{DeviceKey, Epoch},
    routes::view::Route,
};
use rollcall_router::{Failure, Outcome, Reason, Reply, Router, RouterConfig};
use tokio::task::JoinHandle;
use world::{
    Cluster,
    agent::{Agent, attach, profile},
    call_to, call_within,
    registrar::FakeRegistrar,
    wait_until,
};

fn invoke(router: &Router<FakeRegistrar>, call: rollcall_router::Call) -> JoinHandle<Result<Reply, Failure>> {
    let router = router.clone();
    tokio::spawn(async move { router.invoke(call).await })
}

async fn failure(call: JoinHandle<Result<Reply, Failure>>) -> Failure {
    call.await.expect("the task ends").expect_err("the call fails")
}

async fn reply(call: JoinHandle<Result<Reply, Failure>>) -> Reply {
    call.await.expect("the task ends").expect("the call succeeds")
}

fn connected(cluster: &Cluster, device: &str) -> bool {
    matches!(cluster.registrar(1).routes().route("default", device), Route::Held { .. })
}

#[tokio::test]
async fn a_connection_ended_in_good_order_ends_its_calls_and_closes_the_session() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 1).await;
    let executing = invoke(cluster.router(1), call_to("d"));
    agent.next_call().await;
    let queued = invoke(cluster.router(1), call_to("d"));
    wait_until("both calls are in flight", || cluster.router(1).calls_in_flight() == 2).await;
    tokio::task::yield_now().await;
    agent.finish();
    let executing = failure(executing).await;
    assert_eq!((executing.reason, executing.outcome), (Reason::DeviceLost, Outcome::Unknown));
    let queued = failure(queued).await;
    assert_eq!((queued.reason, queued.outcome), (Reason::DeviceLost, Outcome::NotExecuted));
    assert!(!connected(&cluster, "d"));
    assert_eq!(cluster.router(1).device_count(), 0);
}

#[tokio::test]
async fn superseded_by_another_instance_a_session_is_over_at_once() {
    let cluster = Cluster::start(1).await;
    let mut old = Agent::connect(cluster.router(1)).await;
    old.attach(1, attach("d", 5, 1, profile(1))).await;
    let executing = invoke(cluster.router(1), call_to("d"));
    old.next_call().await;
    let mut new = Agent::connect(cluster.router(1)).await;
    let attached = new.attach(1, attach("d", 6, 1, profile(1))).await;
    match old.next().await {
        Down::Superseded(notice) => {
            assert_eq!((notice.winner_epoch, notice.same_instance), (attached.epoch, false));
        }
        other => panic!("expected Superseded, got {other:?}"),
    }
    let failed = failure(executing).await;
    assert_eq!((failed.reason, failed.outcome), (Reason::DeviceLost, Outcome::Unknown));
    let _ = old.say(1, Up::Detach(device::Detach::default())).await;
    drop(old);
    assert!(connected(&cluster, "d"), "a late close of the old session changes nothing");
    let waiting = invoke(cluster.router(1), call_to("d"));
    let received = new.next_call().await;
    assert_eq!(received.epoch, attached.epoch);
    new.answer(1, &received, Bytes::new()).await;
    reply(waiting).await;
}

#[tokio::test]
async fn superseded_by_the_same_instance_a_session_still_delivers_its_results() {
    let cluster = Cluster::start(1).await;
    let mut old = Agent::connect(cluster.router(1)).await;
    old.attach(1, attach("d", 5, 1, profile(1))).await;
    let executing = invoke(cluster.router(1), call_to("d"));
    let received = old.next_call().await;
    let queued = invoke(cluster.router(1), call_to("d"));
    wait_until("both calls are in flight", || cluster.router(1).calls_in_flight() == 2).await;
    let mut new = Agent::connect(cluster.router(1)).await;
    new.attach(1, attach("d", 5, 2, profile(1))).await;
    assert!(matches!(old.next().await, Down::Superseded(notice) if notice.same_instance));
    let moved = new.next_call().await;
    new.answer(1, &moved, Bytes::from_static(b"new")).await;
    let queued = reply(queued).await;
    assert_eq!((&queued.payload[..], queued.attempts), (&b"new"[..], 2));
    old.answer(1, &received, Bytes::from_static(b"old")).await;
    assert_eq!(&reply(executing).await.payload[..], b"old");
    assert!(old.hears_nothing().await);
}

#[tokio::test]
async fn an_older_attach_of_the_same_instance_is_refused() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::connect(cluster.router(1)).await;
    agent.attach(1, attach("d", 5, 2, profile(1))).await;
    let _ = agent.say(2, Up::Attach(attach("d", 5, 1, profile(1)))).await;
    match agent.next().await {
        Down::AttachRefused(refused) => assert_eq!(refused.code(), CloseCode::Superseded),
        other => panic!("expected AttachRefused, got {other:?}"),
    }
}

#[tokio::test]
async fn a_session_closed_in_the_registry_is_told_so() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::connect(cluster.router(1)).await;
    let attached = agent.attach(1, attach("d", 5, 1, profile(1))).await;
    cluster.registrar(1).close(DeviceKey::new("", "d"), Epoch(attached.epoch));
    match agent.next().await {
        Down::Closed(closed) => assert_eq!(closed.code(), CloseCode::Disconnected),
        other => panic!("expected Closed, got {other:?}"),
    }
    agent.attach(1, attach("d", 5, 2, profile(1))).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_dropped_after_two_heartbeats() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 1).await;
    agent.answers_pings = false;
    let start = tokio::time::Instant::now();
    let mut pings = 0;
    let code = loop {
        match agent.next().await {
            Down::Ping(_) => pings += 1,
            Down::GoAway(go_away) => break go_away.code(),
            other => panic!("unexpected {other:?}"),
        }
    };
    assert_eq!(code, CloseCode::Heartbeat);
    assert!((1..=2).contains(&pings), "{pings}: the first comes at a moment of its connection's own");
    let silence = start.elapsed();
    assert!((Duration::from_secs(10)..=Duration::from_millis(12_500)).contains(&silence), "{silence:?}");
    assert!(agent.next_frame().await.is_none());
    assert!(connected(&cluster, "d"), "it may come back");
    tokio::time::sleep(RouterConfig::default().resume_window + Duration::from_secs(2)).await;
    assert!(!connected(&cluster, "d"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_read_is_cut_and_nobody_waits_for_it() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 1).await;
    let stuck = invoke(cluster.router(1), call_within("d", Duration::from_secs(30)));
    // It writes, but does not read.
    for _ in 0..12 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let _ = agent.say(0, Up::Pong(device::Pong { number: 0 })).await;
    }
    let failed = failure(stuck).await;
    assert_eq!((failed.reason, failed.outcome), (Reason::DeviceLost, Outcome::NotExecuted));
    assert!(matches!(agent.next().await, Down::GoAway(go_away) if go_away.code() == CloseCode::TooSlow));
}

#[tokio::test]
async fn a_frame_that_breaks_the_protocol_ends_the_connection() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::silent(cluster.router(1));
    assert!(agent.say(1, Up::Attach(attach("d", 5, 1, profile(1)))).await.is_break());
    assert!(
        matches!(agent.next().await, Down::GoAway(go_away) if go_away.code() == CloseCode::ProtocolError)
    );
    assert!(agent.next_frame().await.is_none());
    let mut agent = Agent::silent(cluster.router(1));
    let future = device::Hello { protocol_min: 2, protocol_max: 9, ..Default::default() };
    assert!(agent.say(0, Up::Hello(future)).await.is_break());
    assert!(matches!(agent.next().await, Down::GoAway(go_away) if go_away.code() == CloseCode::Version));
}

#[tokio::test]
async fn a_connection_lost_during_its_attach_leaves_no_session() {
    let cluster = Cluster::start(1).await;
    let gate = cluster.registrar(1).gate.lock().await;
    let mut agent = Agent::connect(cluster.router(1)).await;
    let _ = agent.say(1, Up::Attach(attach("d", 5, 1, profile(1)))).await;
    drop(agent);
    let before = cluster.log.index();
    drop(gate);
    wait_until("the session was opened and closed", || cluster.log.index().0 >= before.0 + 2).await;
    assert!(!connected(&cluster, "d"));
    assert_eq!(cluster.router(1).device_count(), 0);
}

#[tokio::test]
async fn a_drain_lets_calls_finish_and_then_closes() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 1).await;
    let waiting = invoke(cluster.router(1), call_to("d"));
    let received = agent.next_call().await;
    let router = cluster.router(1).clone();
    let drained = tokio::spawn(async move { router.drain(Duration::from_secs(30)).await });
    assert!(matches!(agent.next().await, Down::GoAway(go_away) if go_away.code() == CloseCode::GoingAway));
    let _ = agent.say(2, Up::Attach(attach("e", 5, 1, profile(1)))).await;
    assert!(
        matches!(agent.next().await, Down::AttachRefused(refused) if refused.code() == CloseCode::GoingAway)
    );
    agent.answer(1, &received, Bytes::new()).await;
    reply(waiting).await;
    drained.await.expect("the drain ends");
    assert_eq!(failure(invoke(cluster.router(1), call_to("d"))).await.reason, Reason::ShuttingDown);
    assert!(!connected(&cluster, "d"));
}

#[tokio::test]
async fn a_resume_that_was_overtaken_is_refused() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::connect(cluster.router(1)).await;
    let first = agent.attach(1, attach("d", 5, 1, profile(1))).await;
    drop(agent);
    let again = |number| device::Attach {
        cluster_id: first.cluster_id.clone(),
        newest_epoch: first.epoch,
        resume_token: first.resume_token.clone(),
        lists_all: true,
        ..attach("d", 5, number, profile(1))
    };
    let mut agent = Agent::connect(cluster.router(1)).await;
    assert!(agent.attach(1, again(3)).await.resumed);
    let mut delayed = Agent::connect(cluster.router(1)).await;
    let _ = delayed.say(1, Up::Attach(again(2))).await;
    match delayed.next().await {
        Down::AttachRefused(refused) => assert_eq!(refused.code(), CloseCode::Superseded),
        other => panic!("expected AttachRefused, got {other:?}"),
    }
}
