//! One node, its devices and their calls, over channels.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod world;

use std::time::Duration;

use bytes::Bytes;
use rollcall_proto::device::{
    self, CloseCode, RefusedReason, attach_request::Frame as Up, attach_response::Frame as Down,
};
use rollcall_registry::{
    Registrar,
    model::ids::{DeviceKey, Epoch},
    routes::view::Route,
};
use rollcall_router::{Failure, Outcome, Reason, Reply, Router, Stage};
use tokio::task::JoinHandle;
use world::{
    Cluster,
    agent::{Agent, attach, profile},
    call, call_to, call_within,
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
async fn a_call_reaches_its_device_and_comes_back() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 1).await;
    let mut sent = call_to("d");
    sent.payload = Bytes::from_static(b"hello");
    sent.content_type = "text/plain".into();
    sent.metadata.insert("k".into(), "v".into());
    let waiting = invoke(cluster.router(1), sent);
    let received = agent.next_call().await;
    assert_eq!(&received.payload[..], b"hello");
    assert_eq!((received.action.as_str(), received.request_id.as_str()), ("echo", "r-1"));
    assert_eq!((received.content_type.as_str(), received.metadata["k"].as_str()), ("text/plain", "v"));
    assert_eq!(received.token.len(), 24);
    agent.answer(1, &received, Bytes::from_static(b"bye")).await;
    let reply = reply(waiting).await;
    assert_eq!(&reply.payload[..], b"bye");
    assert_eq!((reply.device_id.as_str(), reply.node.as_str(), reply.attempts), ("d", "n1", 1));
    assert_eq!(reply.epoch.0, received.epoch);
    assert!(reply.timings.total >= reply.timings.device);
    assert_eq!(reply.timings.forward, None);
}

#[tokio::test]
async fn refusals_come_at_once_and_say_why() {
    let cluster = Cluster::start(1).await;
    let router = cluster.router(1);
    assert_eq!(failure(invoke(router, call())).await.reason, Reason::NoDevice);
    assert_eq!(failure(invoke(router, call_to("d"))).await.reason, Reason::NotConnected);
    let _agent = Agent::attached(router, "d", 1).await;
    let other_action = rollcall_router::Call { action: "sing".into(), ..call() };
    assert_eq!(failure(invoke(router, other_action.clone())).await.reason, Reason::ActionUnknown);
    let named = rollcall_router::Call { device_id: Some("d".into()), ..other_action };
    assert_eq!(failure(invoke(router, named)).await.reason, Reason::ActionUnknown);
    let other_group = rollcall_router::Call { group: "h".into(), ..call_to("d") };
    assert_eq!(failure(invoke(router, other_group)).await.reason, Reason::NoDevice);
    let labelled = rollcall_router::Call { labels: vec![("site".into(), "x".into())], ..call() };
    let failed = failure(invoke(router, labelled)).await;
    assert_eq!((failed.reason, failed.outcome), (Reason::NoDevice, Outcome::NotExecuted));
    let large = rollcall_router::Call { payload: vec![0; 16 * 1024 * 1024 + 1].into(), ..call() };
    assert_eq!(failure(invoke(router, large)).await.reason, Reason::PayloadTooLarge);
}

#[tokio::test]
async fn a_handlers_error_counts_as_executed() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 1).await;
    let waiting = invoke(cluster.router(1), call());
    let received = agent.next_call().await;
    let error = Some(device::HandlerError { message: "x".repeat(5_000) });
    let _ = agent
        .say(1, Up::Result(device::Result { tag: received.tag, error, ..Default::default() }.into()))
        .await;
    let failed = failure(waiting).await;
    assert_eq!((failed.reason, failed.outcome), (Reason::DeviceError, Outcome::Executed));
    assert_eq!(failed.message.len(), 4_096);
    assert_eq!((failed.device_id.as_deref(), failed.node.as_deref()), (Some("d"), Some("n1")));
}

#[tokio::test]
async fn capacity_is_kept_and_the_queue_is_bounded() {
    let cluster = Cluster::with(1, |config| config.device_queue = 2).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 2).await;
    let calls: Vec<_> = (0..4).map(|_| invoke(cluster.router(1), call_to("d"))).collect();
    let first = agent.next_call().await;
    let _second = agent.next_call().await;
    assert!(agent.hears_nothing().await, "two places, two calls");
    assert_eq!(failure(invoke(cluster.router(1), call_to("d"))).await.reason, Reason::QueueFull);
    agent.answer(1, &first, Bytes::new()).await;
    let _third = agent.next_call().await;
    assert!(agent.hears_nothing().await, "one place was freed, one call came");
    drop(calls);
}

#[tokio::test]
async fn a_dropped_call_is_cancelled_and_its_place_is_free_after_the_acknowledgement() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 1).await;
    let dropped = invoke(cluster.router(1), call_to("d"));
    let received = agent.next_call().await;
    dropped.abort();
    match agent.next().await {
        Down::Cancel(cancel) => assert_eq!(cancel.tag, received.tag),
        other => panic!("expected Cancel, got {other:?}"),
    }
    let next = invoke(cluster.router(1), call_to("d"));
    assert!(agent.hears_nothing().await, "the handler may still run");
    let cancelled = device::Cancelled { tag: received.tag, executed: true, ..Default::default() };
    let _ = agent.say(1, Up::Cancelled(cancelled)).await;
    let received = agent.next_call().await;
    agent.answer(1, &received, Bytes::new()).await;
    reply(next).await;
    wait_until("nothing is in flight", || cluster.router(1).calls_in_flight() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_says_where_the_time_ran_out() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 1).await;
    let on_device = invoke(cluster.router(1), call_within("d", Duration::from_secs(2)));
    let received = agent.next_call().await;
    let queued = invoke(cluster.router(1), call_within("d", Duration::from_secs(1)));
    let queued = failure(queued).await;
    assert_eq!(
        (queued.reason, queued.stage, queued.outcome),
        (Reason::Deadline, Some(Stage::Queue), Outcome::NotExecuted)
    );
    let on_device = failure(on_device).await;
    assert_eq!((on_device.stage, on_device.outcome), (Some(Stage::Device), Outcome::Unknown));
    assert!(matches!(agent.next().await, Down::Cancel(_)));
    let unread = invoke(cluster.router(1), call_within("d", Duration::from_secs(1)));
    assert_eq!(failure(unread).await.stage, Some(Stage::Queue), "the place is still taken");
    agent.answer(1, &received, Bytes::from_static(b"late")).await;
    let unwritten = failure(invoke(cluster.router(1), call_within("d", Duration::from_secs(1)))).await;
    assert_eq!((unwritten.stage, unwritten.outcome), (Some(Stage::Write), Outcome::NotExecuted));
    assert!(agent.hears_nothing().await, "what came too late is not written");
}

#[tokio::test(start_paused = true)]
async fn a_call_of_twenty_seconds_is_answered() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 1).await;
    let waiting = invoke(cluster.router(1), call_within("d", Duration::from_secs(30)));
    let received = agent.next_call().await;
    // Stays alive by answering Pings.
    let asleep = tokio::time::timeout(Duration::from_secs(20), agent.next_frame()).await;
    assert!(asleep.is_err());
    agent.answer(1, &received, Bytes::from_static(b"slow")).await;
    let reply = reply(waiting).await;
    assert!(reply.timings.device.expect("it was measured") >= Duration::from_secs(20));
}

#[tokio::test]
async fn large_payloads_travel_in_chunks_both_ways_and_small_calls_overtake() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 2).await;
    let payload = Bytes::from((0..500_000u32).map(|at| at as u8).collect::<Vec<_>>());
    let large = rollcall_router::Call { payload: payload.clone(), ..call_to("d") };
    let large = invoke(cluster.router(1), large);
    let first = agent.next().await;
    let Down::Call(head) = first else { panic!("expected a call, got {first:?}") };
    assert_eq!((head.payload.len(), head.payload_bytes), (64 * 1024, 500_000));
    let small = invoke(cluster.router(1), call_to("d"));
    wait_until("both calls are in flight", || cluster.router(1).calls_in_flight() == 2).await;
    let (mut received, mut overtook) = (head.payload.to_vec(), false);
    while received.len() < 500_000 {
        match agent.next().await {
            Down::Chunk(chunk) => {
                received.extend_from_slice(&chunk.data);
                assert_eq!(chunk.last, received.len() == 500_000);
            }
            Down::Call(call) => {
                agent.answer(1, &call, Bytes::new()).await;
                overtook = true;
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(overtook);
    assert_eq!(received, payload);
    reply(small).await;
    agent.answer(1, &head, payload.clone()).await;
    assert_eq!(reply(large).await.payload, payload);
}

#[tokio::test]
async fn a_lost_connection_ends_its_calls_honestly_and_closes_the_session() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 1).await;
    let executing = invoke(cluster.router(1), call_to("d"));
    agent.next_call().await;
    let queued = invoke(cluster.router(1), call_to("d"));
    wait_until("both calls are in flight", || cluster.router(1).calls_in_flight() == 2).await;
    tokio::task::yield_now().await;
    drop(agent);
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
    assert_eq!((code, pings), (CloseCode::Heartbeat, 1));
    let silence = start.elapsed();
    assert!((Duration::from_secs(10)..=Duration::from_millis(12_500)).contains(&silence), "{silence:?}");
    assert!(agent.next_frame().await.is_none());
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
    let future = device::Hello { protocol_min: 2, protocol_max: 9, agent: String::new() };
    assert!(agent.say(0, Up::Hello(future)).await.is_break());
    assert!(matches!(agent.next().await, Down::GoAway(go_away) if go_away.code() == CloseCode::Version));
}

#[tokio::test]
async fn a_malformed_attach_is_refused_and_the_connection_goes_on() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::connect(cluster.router(1)).await;
    let _ = agent.say(1, Up::Attach(attach("", 5, 1, profile(1)))).await;
    match agent.next().await {
        Down::AttachRefused(refused) => {
            assert_eq!(refused.code(), CloseCode::Invalid);
            assert!(refused.message.starts_with("device_id:"), "{}", refused.message);
        }
        other => panic!("expected AttachRefused, got {other:?}"),
    }
    agent.attach(1, attach("d", 5, 1, profile(1))).await;
}

#[tokio::test]
async fn a_refused_open_says_when_to_come_back() {
    let cluster = Cluster::start(1).await;
    let retry_after = Duration::from_secs(3);
    *cluster.registrar(1).refuse.lock() = Some(rollcall_registry::ChangeError::NoLeader { retry_after });
    let mut agent = Agent::connect(cluster.router(1)).await;
    let _ = agent.say(1, Up::Attach(attach("d", 5, 1, profile(1)))).await;
    match agent.next().await {
        Down::AttachRefused(refused) => {
            assert_eq!(refused.code(), CloseCode::Unavailable);
            assert_eq!(refused.retry_after.map(|pause| pause.seconds), Some(3));
        }
        other => panic!("expected AttachRefused, got {other:?}"),
    }
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
async fn agents_refusals_are_not_executed() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 1).await;
    for (refusal, reason) in [
        (RefusedReason::Busy, Reason::DeviceBusy),
        (RefusedReason::TooLarge, Reason::PayloadTooLarge),
        (RefusedReason::Stopping, Reason::NotConnected),
    ] {
        let waiting = invoke(cluster.router(1), call_to("d"));
        let tag = agent.next_call().await.tag;
        let _ = agent
            .say(1, Up::Refused(device::Refused { tag, reason: refusal.into(), message: String::new() }))
            .await;
        let failed = failure(waiting).await;
        assert_eq!((failed.reason, failed.outcome), (reason, Outcome::NotExecuted));
    }
}

#[tokio::test]
async fn an_update_changes_what_the_device_offers() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 1).await;
    let mut changed = profile(1);
    changed.actions.push("sing".into());
    let _ = agent.say(1, Up::Update(device::Update { update_number: 4, profile: Some(changed) })).await;
    assert!(matches!(agent.next().await, Down::Updated(updated) if updated.update_number == 4));
    let waiting = invoke(cluster.router(1), rollcall_router::Call { action: "sing".into(), ..call() });
    let received = agent.next_call().await;
    agent.answer(1, &received, Bytes::new()).await;
    reply(waiting).await;
}

#[tokio::test]
async fn many_devices_share_a_connection_and_a_groups_calls() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::connect(cluster.router(1)).await;
    for slot in 1..=4 {
        agent.attach(slot, attach(&format!("d{slot}"), 5, 1, profile(2))).await;
    }
    let calls: Vec<_> = (0..8).map(|_| invoke(cluster.router(1), call())).collect();
    let mut taken = std::collections::BTreeMap::<u32, u32>::new();
    for _ in 0..8 {
        let frame = agent.next_frame().await.expect("the connection goes on");
        *taken.entry(frame.slot).or_default() += 1;
        if let Some(Down::Call(call)) = frame.frame
            && taken.values().sum::<u32>() > 4
        {
            agent.answer(frame.slot, &call, Bytes::new()).await;
        }
    }
    assert_eq!(taken.into_values().collect::<Vec<_>>(), vec![2; 4], "each device got as many");
    drop(calls);
}

#[tokio::test]
async fn a_call_waits_for_its_device_to_connect() {
    let cluster = Cluster::start(1).await;
    let patient = rollcall_router::Call { connect_wait: Duration::from_secs(5), ..call_to("d") };
    let waiting = invoke(cluster.router(1), patient);
    wait_until("the call waits", || cluster.router(1).calls_in_flight() == 1).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 1).await;
    let received = agent.next_call().await;
    agent.answer(1, &received, Bytes::new()).await;
    reply(waiting).await;
    drop(agent);
    let impatient = rollcall_router::Call { connect_wait: Duration::from_millis(20), ..call_to("d") };
    assert_eq!(failure(invoke(cluster.router(1), impatient)).await.reason, Reason::NotConnected);
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
