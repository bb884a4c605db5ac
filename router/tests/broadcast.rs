//! Broadcasts: one result for each device, at the reader's pace, and nothing more once nobody listens.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod world;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use rollcall_proto::device::{self, attach_response::Frame as Down};
use rollcall_registry::model::ids::{LogIndex, NodeId};
use rollcall_router::{
    Broadcast, BroadcastEvent, Failure, Outcome, Reason, Reply, Router, Started, Summary, limits,
};
use tokio::time::{Instant, timeout};
use world::{
    Cluster,
    agent::{Agent, attach, profile},
    registrar::FakeRegistrar,
    wait_until,
};

/// To the group `g`, action `echo`, as fast as is allowed, over in ten seconds.
fn to_group() -> Broadcast {
    let arrived = Instant::now();
    Broadcast {
        namespace: "".into(),
        group: "g".into(),
        action: "echo".into(),
        payload: Bytes::from_static(b"x"),
        content_type: "".into(),
        metadata: Default::default(),
        labels: Vec::new(),
        request_id: "b-1".into(),
        idempotent: false,
        device_timeout: Duration::from_secs(5),
        rate_per_second: limits::BROADCAST_RATE,
        in_flight: limits::BROADCAST_IN_FLIGHT,
        min_index: LogIndex(0),
        arrived,
        deadline: arrived + Duration::from_secs(10),
    }
}

type Results = BTreeMap<String, Result<Reply, Failure>>;

async fn next(started: &mut Started) -> BroadcastEvent {
    let event = timeout(Duration::from_secs(20), started.events.recv()).await;
    event.expect("an event in time").expect("the summary comes last")
}

/// All results and the summary, whose counts must be theirs.
async fn all(mut started: Started) -> (Results, Summary) {
    let mut results = Results::new();
    let summary = loop {
        match next(&mut started).await {
            BroadcastEvent::Result { device_id, result } => {
                assert!(results.insert(device_id.to_string(), result).is_none(), "{device_id} twice");
            }
            BroadcastEvent::Summary(summary) => break summary,
        }
    };
    assert!(started.events.recv().await.is_none(), "something follows the summary");
    assert_eq!(summary.targets, u64::from(started.targets));
    assert_eq!(summary.targets, results.len() as u64);
    assert_eq!(summary.answered, results.values().filter(|result| result.is_ok()).count() as u64);
    for (outcome, count) in Outcome::ALL.into_iter().zip(summary.failed) {
        let failed =
            results.values().filter(|result| matches!(result, Err(failed) if failed.outcome == outcome));
        assert_eq!(count, failed.count() as u64, "{outcome}");
    }
    assert_eq!(summary.answered + summary.failed.iter().sum::<u64>(), summary.targets);
    (results, summary)
}

/// A connection with this many devices, `<name>-1` and so on.
async fn site(router: &Router<FakeRegistrar>, name: &str, devices: u32) -> Agent {
    let mut agent = Agent::connect(router).await;
    for slot in 1..=devices {
        agent.attach(slot, attach(&format!("{name}-{slot}"), u64::from(slot), 1, profile(1))).await;
    }
    agent
}

async fn next_call(agent: &mut Agent) -> (u32, device::Call) {
    let frame = agent.next_frame().await.expect("the connection goes on");
    match frame.frame {
        Some(Down::Call(call)) => (frame.slot, *call),
        other => panic!("expected a call, got {other:?}"),
    }
}

#[tokio::test]
async fn every_device_of_every_node_is_called_once() {
    let cluster = Cluster::start(3).await;
    for node in 1..=3 {
        site(cluster.router(node), &format!("n{node}"), 50).await.echo();
    }
    for from in 1..=3 {
        let started = cluster.router(from).broadcast(to_group()).await.expect("it begins");
        assert_eq!((started.targets, started.index), (150, cluster.log.index()));
        let (results, summary) = all(started).await;
        assert_eq!((summary.answered, summary.reasons.len()), (150, 0));
        for (device, reply) in results {
            let reply = reply.expect("an answer");
            assert_eq!(reply.device_id, device);
            assert!(device.starts_with(reply.node.as_str()), "{device} is not held by {}", reply.node);
        }
        assert_eq!(cluster.router(from).calls_in_flight(), 0);
    }
}

#[tokio::test]
async fn who_does_not_read_stops_what_is_sent() {
    let cluster = Cluster::start(1).await;
    let mut agent = site(cluster.router(1), "d", 100).await;
    let broadcast = Broadcast { in_flight: 4, ..to_group() };
    let started = cluster.router(1).broadcast(broadcast).await.expect("it begins");
    let mut called = 0;
    while let Ok((slot, call)) = timeout(Duration::from_millis(300), next_call(&mut agent)).await {
        called += 1;
        agent.answer(slot, &call, Bytes::new()).await;
    }
    let most = 4 + limits::BROADCAST_CHANNEL;
    assert!((4..=most).contains(&called), "{called} devices were called, at most {most} may be");
    agent.echo();
    assert_eq!(all(started).await.1.answered, 100, "it goes on with its reader");
}

#[tokio::test]
async fn who_goes_stops_what_is_unsent_and_cancels_what_is_not() {
    let cluster = Cluster::start(2).await;
    let mut agent = site(cluster.router(2), "d", 20).await;
    let broadcast = Broadcast { in_flight: 3, ..to_group() };
    let started = cluster.router(1).broadcast(broadcast).await.expect("it begins");
    let mut running = Vec::new();
    while running.len() < 3 {
        running.push(next_call(&mut agent).await.1.tag);
    }
    drop(started);
    for _ in 0..3 {
        match agent.next().await {
            Down::Cancel(cancel) => assert!(running.contains(&cancel.tag)),
            other => panic!("expected Cancel, got {other:?}"),
        }
    }
    assert!(agent.hears_nothing().await, "nothing else is sent");
    wait_until("no call is in flight", || cluster.router(1).calls_in_flight() == 0).await;
}

#[tokio::test]
async fn a_device_that_moves_meanwhile_is_called_where_it_comes_up() {
    let cluster = Cluster::start(3).await;
    let mut first = Agent::attached(cluster.router(1), "first", 1).await;
    let mut mover = Agent::connect(cluster.router(2)).await;
    let before = mover.attach(1, attach("mover", 9, 1, profile(1))).await;
    let (broadcast, router) = (Broadcast { in_flight: 1, ..to_group() }, cluster.router(1));
    // Both are targets, and then the mover is gone; in whichever order they are called.
    let started = router.broadcast(broadcast).await.expect("it begins");
    drop(mover);
    let answers = tokio::spawn(all(started));
    let answered = tokio::spawn(async move {
        let (slot, call) = next_call(&mut first).await;
        first.answer(slot, &call, Bytes::new()).await;
        first
    });
    wait_until("the mover has left", || cluster.router(2).device_count() == 0).await;
    let mut moved = Agent::connect(cluster.router(3)).await;
    let again = device::Attach {
        cluster_id: before.cluster_id,
        newest_epoch: before.epoch,
        resume_token: before.resume_token,
        lists_all: true,
        ..attach("mover", 9, 2, profile(1))
    };
    moved.attach(1, again).await;
    let moved = moved.echo();
    let (results, summary) = answers.await.expect("the task ends");
    let first = answered.await.expect("the task ends");
    // If the mover was sent the call when it went, it says on its return that it never got it.
    let reply = results["mover"].as_ref().expect("it is called again");
    assert_eq!((reply.node.as_str(), summary.answered), ("n3", 2));
    drop((first, moved));
}

#[tokio::test]
async fn what_may_have_run_is_not_called_again() {
    let cluster = Cluster::with(2, |config| config.resume_window = Duration::from_millis(500)).await;
    let mut agent = Agent::attached(cluster.router(2), "d", 1).await;
    let started = cluster.router(1).broadcast(to_group()).await.expect("it begins");
    next_call(&mut agent).await;
    cluster.stall(2, true);
    let (results, summary) = all(started).await;
    let failure = results["d"].as_ref().expect_err("no answer");
    assert_eq!((failure.reason, failure.outcome), (Reason::HolderUnreachable, Outcome::Unknown));
    assert_eq!((summary.failed, summary.reasons), ([0, 1, 0], vec![(Reason::HolderUnreachable, 1)]));
    cluster.stall(2, false);
    let up = || cluster.router(1).link(NodeId(2)).is_some_and(|link| link.up);
    wait_until("the link is up", up).await;
    match agent.next().await {
        Down::Cancel(_) => {}
        other => panic!("expected Cancel, got {other:?}"),
    }
    assert!(agent.hears_nothing().await);
}

#[tokio::test]
async fn a_device_without_the_action_has_its_result_too() {
    let cluster = Cluster::start(1).await;
    Agent::attached(cluster.router(1), "able", 1).await.echo();
    let mut other = Agent::connect(cluster.router(1)).await;
    let unable = device::Profile { actions: vec!["dance".into()], ..profile(1) };
    other.attach(1, attach("unable", 9, 1, unable)).await;
    let (results, summary) = all(cluster.router(1).broadcast(to_group()).await.expect("it begins")).await;
    assert!(results["able"].is_ok());
    let failure = results["unable"].as_ref().expect_err("no such action");
    assert_eq!((failure.reason, failure.outcome), (Reason::ActionUnknown, Outcome::NotExecuted));
    assert_eq!(summary.failed, [1, 0, 0]);
}

#[tokio::test]
async fn labels_choose_with_a_group_and_without() {
    let cluster = Cluster::start(2).await;
    for (device, site, group) in [("a", "hz", "g"), ("b", "sh", "g"), ("c", "hz", "other")] {
        let profile = device::Profile {
            labels: [("site".to_owned(), site.to_owned())].into(),
            groups: vec![group.into()],
            ..profile(1)
        };
        let mut agent = Agent::connect(cluster.router(2)).await;
        agent.attach(1, attach(device, 5, 1, profile)).await;
        agent.echo();
    }
    let labels = vec![("site".into(), "hz".into())];
    for (group, expected) in [("g", vec!["a"]), ("", vec!["a", "c"])] {
        let broadcast = Broadcast { group: group.into(), labels: labels.clone(), ..to_group() };
        let (results, _) = all(cluster.router(1).broadcast(broadcast).await.expect("it begins")).await;
        assert_eq!(results.keys().collect::<Vec<_>>(), expected);
        assert!(results.values().all(Result::is_ok), "{results:?}");
    }
    let nobody = Broadcast { group: "nobody".into(), ..to_group() };
    let failure = cluster.router(1).broadcast(nobody).await.expect_err("nobody is there");
    assert_eq!((failure.reason, failure.outcome), (Reason::NoDevice, Outcome::NotExecuted));
}

#[tokio::test]
async fn at_the_deadline_every_device_has_a_result() {
    let cluster = Cluster::start(1).await;
    site(cluster.router(1), "d", 100).await.echo();
    let broadcast = to_group();
    let deadline = broadcast.arrived + Duration::from_millis(300);
    let broadcast = Broadcast { rate_per_second: 50, deadline, ..broadcast };
    let (_, summary) = all(cluster.router(1).broadcast(broadcast).await.expect("it begins")).await;
    assert!(summary.answered >= 1 && summary.answered <= 30, "{summary:?}");
    assert_eq!(summary.reasons, [(Reason::Deadline, 100 - summary.answered)]);
}

#[tokio::test]
async fn so_many_broadcasts_run_at_once_and_no_more() {
    let cluster = Cluster::start(1).await;
    let _agent = Agent::attached(cluster.router(1), "d", 1).await;
    let mut running = Vec::new();
    for _ in 0..limits::BROADCASTS {
        running.push(cluster.router(1).broadcast(to_group()).await.expect("it begins"));
    }
    let failure = cluster.router(1).broadcast(to_group()).await.expect_err("too many");
    assert_eq!((failure.reason, failure.retry_after.is_some()), (Reason::Overloaded, true));
    drop(running);
    let give_up = Instant::now() + Duration::from_secs(10);
    while let Err(failure) = cluster.router(1).broadcast(to_group()).await {
        assert!(Instant::now() < give_up, "no place is given back: {failure}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
