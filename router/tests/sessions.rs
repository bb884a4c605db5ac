//! One node, its devices and their calls, over channels.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod world;

use std::time::Duration;

use bytes::Bytes;
use rollcall_proto::device::{
    self, CloseCode, RefusedReason, attach_request::Frame as Up, attach_response::Frame as Down,
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
    let labelled = rollcall_router::Call { labels: vec![("site".into(), "x".into())], ..call() };
    let failed = failure(invoke(router, labelled)).await;
    assert_eq!((failed.reason, failed.outcome), (Reason::NoDevice, Outcome::NotExecuted));
    let large = rollcall_router::Call { payload: vec![0; 16 * 1024 * 1024 + 1].into(), ..call() };
    assert_eq!(failure(invoke(router, large)).await.reason, Reason::PayloadTooLarge);
}

#[tokio::test]
async fn whoever_names_another_group_learns_nothing_of_a_device() {
    let cluster = Cluster::start(1).await;
    let router = cluster.router(1);
    let of_group =
        |group: &str, device: &str| rollcall_router::Call { group: group.into(), ..call_to(device) };
    let asked = async |device| {
        let failed = failure(invoke(router, of_group("h", device))).await;
        (failed.reason, failed.outcome, failed.message.into_owned())
    };
    let unknown = asked("nobody").await;
    assert_eq!((unknown.0, unknown.1), (Reason::NotConnected, Outcome::NotExecuted));

    let agent = Agent::attached(router, "d", 1).await;
    assert_eq!(asked("d").await, unknown, "connected");
    agent.finish();
    cluster.await_away("d").await;
    assert_eq!(asked("d").await, unknown, "away");
    let _agent = Agent::attached(router, "e", 1).await;
    cluster.disable("e");
    assert_eq!(asked("e").await, unknown, "disabled");
    // Its own group may know.
    assert_eq!(failure(invoke(router, of_group("g", "e"))).await.reason, Reason::DeviceDisabled);
    assert_eq!(failure(invoke(router, of_group("g", "d"))).await.reason, Reason::NotConnected);
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
