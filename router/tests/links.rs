//! Several nodes: calls that are forwarded over loopback links.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod world;

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use rollcall_proto::{
    device::attach_response::Frame as Down,
    peer::{LinkRequest, link_service_client::LinkServiceClient},
};
use rollcall_registry::model::ids::{LogIndex, NodeId};
use rollcall_router::{Call, Failure, Outcome, Reason, Reply, Router, Stage, limits};
use tokio::task::{JoinHandle, JoinSet};
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

#[tokio::test]
async fn a_call_is_forwarded_to_the_node_that_holds_the_device() {
    let cluster = Cluster::start(3).await;
    let mut agent = Agent::attached(cluster.router(2), "d", 1).await;
    for (from, sent) in [(1, call_to("d")), (3, call())] {
        let waiting = invoke(cluster.router(from), Call { payload: Bytes::from_static(b"x"), ..sent });
        let received = agent.next_call().await;
        assert_eq!(&received.payload[..], b"x");
        assert_eq!(received.token[..8], from.to_be_bytes(), "the token names the origin");
        agent.answer(1, &received, Bytes::from_static(b"y")).await;
        let reply = reply(waiting).await;
        assert_eq!((&reply.payload[..], reply.node.as_str(), reply.attempts), (&b"y"[..], "n2", 1));
        assert!(reply.timings.forward.is_some());
    }
}

#[tokio::test]
async fn half_a_megabyte_travels_both_ways() {
    let cluster = Cluster::start(2).await;
    let _agent = Agent::attached(cluster.router(2), "d", 4).await.echo();
    let payload = Bytes::from((0..500_000u32).map(|at| (at / 7) as u8).collect::<Vec<_>>());
    let calls: Vec<_> = (0..4)
        .map(|_| invoke(cluster.router(1), Call { payload: payload.clone(), ..call_to("d") }))
        .collect();
    for call in calls {
        assert_eq!(reply(call).await.payload, payload);
    }
}

#[tokio::test]
async fn a_large_reply_does_not_delay_small_ones() {
    let cluster = Cluster::start(2).await;
    let _agent = Agent::attached(cluster.router(2), "d", 64).await.echo();
    let payload = Bytes::from(vec![1; 16 * 1024 * 1024]);
    let large = invoke(cluster.router(1), Call { payload: payload.clone(), ..call_to("d") });
    let mut overtook = 0;
    while !large.is_finished() {
        reply(invoke(cluster.router(1), call_to("d"))).await;
        overtook += 1;
    }
    assert_eq!(reply(large).await.payload, payload);
    assert!(overtook > 3, "only {overtook} small calls were answered meanwhile");
}

#[tokio::test]
async fn large_payloads_beyond_a_links_room_wait_for_each_other_only() {
    let cluster = Cluster::with(2, |config| config.links_per_peer = 1).await;
    let _agent = Agent::attached(cluster.router(2), "d", 64).await.echo();
    let payload = Bytes::from(vec![1; 16 * 1024 * 1024]);
    let count = limits::LINK_ROOM_BYTES as usize / payload.len() + 2;
    let large = || invoke(cluster.router(1), Call { payload: payload.clone(), ..call_to("d") });
    let mut calls: Vec<_> = (0..count).map(|_| large()).collect();
    reply(invoke(cluster.router(1), call_to("d"))).await;
    assert!(!calls.iter().all(JoinHandle::is_finished), "a small call overtook large ones");
    // One that gives up leaves its room to the others.
    calls.swap_remove(0).abort();
    for call in calls {
        assert_eq!(reply(call).await.payload.len(), payload.len());
    }
    wait_until("no call is left", || cluster.router(1).calls_in_flight() == 0).await;
}

#[tokio::test]
async fn a_thousand_calls_are_in_flight_to_one_agent() {
    let cluster = Cluster::start(2).await;
    let mut agent = Agent::attached(cluster.router(2), "d", 1_000).await;
    let calls: Vec<_> = (0..1_000).map(|_| invoke(cluster.router(1), call_to("d"))).collect();
    let mut received = Vec::new();
    while received.len() < 1_000 {
        received.push(agent.next_call().await);
    }
    for call in received.iter().rev() {
        agent.answer(1, call, Bytes::new()).await;
    }
    for call in calls {
        reply(call).await;
    }
    assert_eq!(cluster.router(1).calls_in_flight(), 0);
}

#[tokio::test]
async fn cancel_and_deadline_reach_the_device() {
    let cluster = Cluster::start(2).await;
    let mut agent = Agent::attached(cluster.router(2), "d", 1).await;
    let dropped = invoke(cluster.router(1), call_to("d"));
    let received = agent.next_call().await;
    dropped.abort();
    assert!(matches!(agent.next().await, Down::Cancel(cancel) if cancel.tag == received.tag));
    let late = invoke(cluster.router(1), call_within("d", Duration::from_millis(100)));
    let late = failure(late).await;
    assert_eq!(
        (late.reason, late.stage, late.outcome),
        (Reason::Deadline, Some(Stage::Queue), Outcome::NotExecuted)
    );
    assert_eq!(late.node.as_deref(), Some("n2"), "the holder knew where the time ran out");
    agent.answer(1, &received, Bytes::new()).await;
    let late = invoke(cluster.router(1), call_within("d", Duration::from_millis(100)));
    let received = agent.next_call().await;
    let late = failure(late).await;
    assert_eq!((late.stage, late.outcome), (Some(Stage::Device), Outcome::Unknown));
    assert!(matches!(agent.next().await, Down::Cancel(cancel) if cancel.tag == received.tag));
}

#[tokio::test]
async fn a_fenced_holder_refuses_forwarded_calls_and_serves_its_own() {
    let cluster = Cluster::start(2).await;
    let _agent = Agent::attached(cluster.router(2), "d", 1).await.echo();
    cluster.registrar(2).leased.store(false, Ordering::Relaxed);
    let failed = failure(invoke(cluster.router(1), call_to("d"))).await;
    assert_eq!((failed.reason, failed.outcome), (Reason::HolderFenced, Outcome::NotExecuted));
    reply(invoke(cluster.router(2), call_to("d"))).await;
}

#[tokio::test]
async fn a_stale_route_is_followed_once_to_the_newer_epoch() {
    let cluster = Cluster::start(3).await;
    let mut old = Agent::connect(cluster.router(2)).await;
    old.attach(1, attach("d", 5, 1, profile(1))).await;
    cluster.log.hold_back(0);
    let mut new = Agent::connect(cluster.router(3)).await;
    let attached = new.attach(1, attach("d", 6, 1, profile(1))).await;
    let waiting = invoke(cluster.router(1), call_to("d"));
    tokio::time::sleep(Duration::from_millis(20)).await;
    cluster.log.catch_up(0);
    let received = new.next_call().await;
    assert_eq!(received.epoch, attached.epoch);
    new.answer(1, &received, Bytes::new()).await;
    let reply = reply(waiting).await;
    assert_eq!((reply.node.as_str(), reply.attempts), ("n3", 2));
}

#[tokio::test]
async fn a_route_that_stays_stale_fails_as_such() {
    let cluster = Cluster::start(3).await;
    let mut old = Agent::connect(cluster.router(2)).await;
    old.attach(1, attach("d", 5, 1, profile(1))).await;
    cluster.log.hold_back(0);
    let mut new = Agent::connect(cluster.router(3)).await;
    new.attach(1, attach("d", 6, 1, profile(1))).await;
    let failed = failure(invoke(cluster.router(1), call_to("d"))).await;
    assert_eq!((failed.reason, failed.outcome), (Reason::StaleRoute, Outcome::NotExecuted));
    assert!(new.hears_nothing().await);
}

#[tokio::test]
async fn a_replica_that_is_behind_waits_for_the_index_that_a_caller_names() {
    let cluster = Cluster::start(2).await;
    cluster.log.hold_back(0);
    let _agent = Agent::attached(cluster.router(2), "d", 1).await.echo();
    assert_eq!(failure(invoke(cluster.router(1), call_to("d"))).await.reason, Reason::NotConnected);
    let fresh = invoke(cluster.router(1), Call { min_index: cluster.log.index(), ..call_to("d") });
    wait_until("the call waits", || cluster.router(1).calls_in_flight() == 1).await;
    cluster.log.catch_up(0);
    reply(fresh).await;
    let ahead = Call { min_index: LogIndex(1_000_000), ..call_within("d", Duration::from_millis(50)) };
    let failed = failure(invoke(cluster.router(1), ahead)).await;
    assert_eq!((failed.reason, failed.outcome), (Reason::Deadline, Outcome::NotExecuted));
}

#[tokio::test]
async fn a_groups_call_prefers_its_own_node_and_overflows_to_others() {
    let cluster = Cluster::start(2).await;
    let mut here = Agent::attached(cluster.router(1), "here", 1).await;
    let mut there = Agent::attached(cluster.router(2), "there", 1).await;
    let first = invoke(cluster.router(1), call());
    let at_home = here.next_call().await;
    let second = invoke(cluster.router(1), call());
    let away = there.next_call().await;
    let third = invoke(cluster.router(1), call());
    assert!(there.hears_nothing().await, "it has no room either");
    there.answer(1, &away, Bytes::new()).await;
    assert_eq!(reply(second).await.node, "n2");
    here.answer(1, &at_home, Bytes::new()).await;
    assert_eq!(reply(first).await.node, "n1");
    let queued = here.next_call().await;
    here.answer(1, &queued, Bytes::new()).await;
    let third = reply(third).await;
    assert_eq!((third.node.as_str(), third.attempts), ("n1", 2), "no room anywhere: it waited at home");
}

#[tokio::test]
async fn a_link_of_another_cluster_or_for_another_node_is_refused() {
    let cluster = Cluster::start(2).await;
    let address = cluster.address(2);
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).expect("a URL");
    let channel = channel.connect().await.expect("the node listens");
    let ours = format!("{:032x}", 7);
    let theirs = format!("{:032x}", 8);
    for (cluster_id, target, accepted) in [(&ours, "2", true), (&theirs, "2", false), (&ours, "1", false)] {
        let mut request = tonic::Request::new(futures::stream::pending::<LinkRequest>());
        for (name, value) in [
            ("rollcall-cluster-id", cluster_id.as_str()),
            ("rollcall-source-id", "1"),
            ("rollcall-target-id", target),
        ] {
            request.metadata_mut().insert(name, value.parse().expect("a value"));
        }
        let opened = LinkServiceClient::new(channel.clone()).link(request).await;
        match opened {
            Ok(_) => assert!(accepted),
            Err(status) => {
                assert!(!accepted);
                assert_eq!(status.code(), tonic::Code::FailedPrecondition);
            }
        }
    }
}

#[tokio::test]
async fn a_cut_link_takes_no_calls_and_those_that_run_are_answered_by_another_way() {
    let cluster = Cluster::start(2).await;
    let mut agent = Agent::attached(cluster.router(2), "d", 2).await;
    let executing = invoke(cluster.router(1), call_to("d"));
    let received = agent.next_call().await;
    cluster.cut(2);
    wait_until("the link is down", || cluster.router(1).link(NodeId(2)).is_some_and(|link| !link.up)).await;
    let refused = failure(invoke(cluster.router(1), call_to("d"))).await;
    assert_eq!((refused.reason, refused.outcome), (Reason::HolderUnreachable, Outcome::NotExecuted));
    assert!(agent.hears_nothing().await, "no Cancel");
    // Through the links that the holder keeps to the caller's node.
    agent.answer(1, &received, Bytes::from_static(b"x")).await;
    assert_eq!(&reply(executing).await.payload[..], b"x");
    cluster.mend(2);
    wait_until("the link is up again", || cluster.router(1).link(NodeId(2)).is_some_and(|link| link.up))
        .await;
    let waiting = invoke(cluster.router(1), call_to("d"));
    let received = agent.next_call().await;
    agent.answer(1, &received, Bytes::new()).await;
    reply(waiting).await;
}

#[tokio::test]
async fn a_silent_peer_takes_no_new_calls_and_leaves_the_others_unknown() {
    let cluster = Cluster::with(2, |config| config.resume_window = Duration::from_millis(500)).await;
    let mut agent = Agent::attached(cluster.router(2), "d", 2).await;
    let executing = invoke(cluster.router(1), call_to("d"));
    let received = agent.next_call().await;
    cluster.stall(2, true);
    wait_until("the link is down", || cluster.router(1).link(NodeId(2)).is_some_and(|link| !link.up)).await;
    let refused = failure(invoke(cluster.router(1), call_to("d"))).await;
    assert_eq!((refused.reason, refused.outcome), (Reason::HolderUnreachable, Outcome::NotExecuted));
    let failed = failure(executing).await;
    assert_eq!((failed.reason, failed.outcome), (Reason::HolderUnreachable, Outcome::Unknown));
    assert!(matches!(agent.next().await, Down::Cancel(cancel) if cancel.tag == received.tag));
    cluster.stall(2, false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_from_all_sides_end_exactly_once() {
    let cluster = Cluster::start(3).await;
    for id in 1..=3 {
        for device in 0..3 {
            drop(Agent::attached(cluster.router(id), &format!("d{id}-{device}"), 4).await.echo());
        }
    }
    let mut calls = JoinSet::new();
    for number in 0..3_000u64 {
        let router = cluster.router(number % 3 + 1).clone();
        calls.spawn(async move { router.invoke(call()).await });
    }
    let mut answered = 0;
    while let Some(ended) = calls.join_next().await {
        match ended.expect("the task ends") {
            Ok(_) => answered += 1,
            Err(failure) => assert_eq!(failure.outcome, Outcome::NotExecuted, "{failure}"),
        }
    }
    assert!(answered > 100, "{answered} of 3000");
    for id in 1..=3 {
        assert_eq!(cluster.router(id).calls_in_flight(), 0);
    }
}

fn keyed(key: &str) -> Call {
    Call { affinity_key: Some(key.to_owned()), ..call() }
}

#[tokio::test]
async fn a_key_leads_to_the_same_device_from_every_node() {
    let cluster = Cluster::start(3).await;
    for id in 1..=3 {
        for device in 0..3 {
            drop(Agent::attached(cluster.router(id), &format!("d{id}-{device}"), 4).await.echo());
        }
    }
    let mut chosen = std::collections::BTreeSet::new();
    for key in 0..30 {
        let key = format!("cart-{key}");
        let home = reply(invoke(cluster.router(1), keyed(&key))).await.device_id;
        for from in 1..=3 {
            let again = reply(invoke(cluster.router(from), keyed(&key))).await;
            assert_eq!((&again.device_id, again.attempts), (&home, 1), "{key} from {from}");
        }
        chosen.insert(home);
    }
    assert!(chosen.len() > 4, "{chosen:?}");
}

#[tokio::test]
async fn while_a_keys_device_has_no_room_the_next_one_answers() {
    let cluster = Cluster::start(2).await;
    let mut one = Agent::attached(cluster.router(2), "d1", 1).await;
    let mut two = Agent::attached(cluster.router(2), "d2", 1).await;
    let first = invoke(cluster.router(1), keyed("k"));
    let (busy, free) = tokio::select! {
        received = one.next_call() => ((&mut one, received), &mut two),
        received = two.next_call() => ((&mut two, received), &mut one),
    };
    let second = invoke(cluster.router(1), keyed("k"));
    let received = free.next_call().await;
    let third = invoke(cluster.router(1), keyed("k"));
    // Its first two attempts are refused, and so nobody's.
    wait_until("the third call waits", || cluster.router(2).device_calls() == 3).await;
    free.answer(1, &received, Bytes::new()).await;
    assert_eq!(reply(second).await.attempts, 2);
    let (home, received) = busy;
    home.answer(1, &received, Bytes::new()).await;
    let home_name = reply(first).await.device_id;
    let received = tokio::select! {
        received = home.next_call() => received,
        _ = free.next_call() => panic!("it waits where its key belongs"),
    };
    home.answer(1, &received, Bytes::new()).await;
    assert_eq!(reply(third).await.device_id, home_name);
}

#[tokio::test]
async fn a_key_says_too_that_nobody_is_there() {
    let cluster = Cluster::start(1).await;
    assert_eq!(failure(invoke(cluster.router(1), keyed("k"))).await.reason, Reason::NoDevice);
    let _agent = Agent::attached(cluster.router(1), "d", 1).await;
    let sing = Call { action: "sing".into(), ..keyed("k") };
    assert_eq!(failure(invoke(cluster.router(1), sing)).await.reason, Reason::ActionUnknown);
}

#[tokio::test]
async fn time_that_a_link_has_cost_is_not_given_to_the_device() {
    let cluster = Cluster::start(2).await;
    let mut agent = Agent::attached(cluster.router(2), "d", 64).await;
    let held_up = Duration::from_millis(400);
    // What is usual must have been seen, on each of a peer's links: calls take turns over them.
    for _ in 0..16 {
        let usual = invoke(cluster.router(1), call_to("d"));
        let received = agent.next_call().await;
        agent.answer(1, &received, Bytes::new()).await;
        reply(usual).await;
    }
    // A link that is silent for too long is given up, which is no time that it has cost.
    for _ in 0..10 {
        cluster.stall(2, true);
        let mut waiting = invoke(cluster.router(1), call_to("d"));
        tokio::time::sleep(held_up).await;
        cluster.stall(2, false);
        tokio::select! {
            _ = &mut waiting => {}
            received = agent.next_call() => {
                let remaining: Duration = received.remaining.expect("a time").try_into().expect("a duration");
                assert!(remaining <= Duration::from_secs(10) - held_up * 3 / 4, "{remaining:?}");
                return;
            }
        }
        wait_until("the link is up", || cluster.router(1).link(NodeId(2)).is_some_and(|link| link.up)).await;
    }
    panic!("the link was given up each time");
}
