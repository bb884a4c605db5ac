//! Many calls of one caller in one task: each ends as it would have by itself.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod world;

use std::{collections::BTreeMap, future::poll_fn, time::Duration};

use bytes::Bytes;
use futures::FutureExt;
use rollcall_proto::device::{self, attach_request::Frame as Up, attach_response::Frame as Down};
use rollcall_router::{Call, Ended, Outcome, Pipeline, Reason, Stage};
use world::{
    Cluster,
    agent::{Agent, attach, profile},
    call, call_to, call_within,
    registrar::FakeRegistrar,
};

async fn ended(pipeline: &mut Pipeline<FakeRegistrar>) -> Ended {
    let next = poll_fn(|cx| pipeline.poll_ended(cx));
    tokio::time::timeout(Duration::from_secs(10), next).await.expect("a call ends")
}

#[tokio::test]
async fn answers_come_under_their_tags_whichever_node_holds_the_device() {
    let cluster = Cluster::start(2).await;
    let _here = Agent::attached(cluster.router(1), "here", 8).await.echo();
    let _there = Agent::attached(cluster.router(2), "there", 8).await.echo();
    let mut pipeline = cluster.router(1).pipeline();
    for tag in 0..8 {
        let device = if tag % 2 == 0 { "here" } else { "there" };
        pipeline.start(tag, Call { payload: Bytes::from(vec![tag as u8; 100_000]), ..call_to(device) });
    }
    assert!(pipeline.contains(7) && !pipeline.contains(8));
    let mut replies = BTreeMap::new();
    while !pipeline.is_empty() {
        let ended = ended(&mut pipeline).await;
        assert_eq!(ended.call.request_id, "r-1");
        replies.insert(ended.tag, ended.result.expect("the call succeeds"));
    }
    for (tag, reply) in &replies {
        assert_eq!(reply.payload, vec![*tag as u8; 100_000]);
        assert_eq!(reply.node, if tag % 2 == 0 { "n1" } else { "n2" });
        assert_eq!((reply.attempts, reply.timings.forward.is_some()), (1, tag % 2 == 1));
    }
    assert_eq!((replies.len(), cluster.router(1).calls_in_flight()), (8, 0));
}

#[tokio::test]
async fn nobody_there_is_answered_at_once() {
    let cluster = Cluster::start(1).await;
    let mut pipeline = cluster.router(1).pipeline();
    pipeline.start(1, call());
    pipeline.start(2, call_to("d"));
    for (tag, reason) in [(1, Reason::NoDevice), (2, Reason::NotConnected)] {
        let ended = ended(&mut pipeline).await;
        let failure = ended.result.expect_err("the call fails");
        assert_eq!((ended.tag, failure.reason, failure.outcome), (tag, reason, Outcome::NotExecuted));
        assert_eq!(failure.node.as_deref(), Some("n1"));
    }
    assert_eq!(cluster.router(1).calls_in_flight(), 0);
}

#[tokio::test]
async fn cancel_and_deadline_reach_the_device() {
    for node in [1, 2] {
        let cluster = Cluster::start(2).await;
        let mut agent = Agent::attached(cluster.router(node), "d", 2).await;
        let mut pipeline = cluster.router(1).pipeline();
        pipeline.start(1, call_to("d"));
        let first = agent.next_call().await;
        pipeline.cancel(1);
        let cancelled = ended(&mut pipeline).await;
        let failure = cancelled.result.expect_err("it is cancelled");
        assert_eq!(
            (cancelled.tag, failure.reason, failure.outcome),
            (1, Reason::Cancelled, Outcome::Unknown)
        );
        assert!(matches!(agent.next().await, Down::Cancel(cancel) if cancel.tag == first.tag));
        pipeline.start(2, call_within("d", Duration::from_millis(100)));
        let second = agent.next_call().await;
        let late = ended(&mut pipeline).await;
        let failure = late.result.expect_err("it is late");
        assert_eq!((late.tag, failure.reason, failure.outcome), (2, Reason::Deadline, Outcome::Unknown));
        assert_eq!(failure.stage, Some(Stage::Device), "the holder knew where the time ran out");
        assert!(matches!(agent.next().await, Down::Cancel(cancel) if cancel.tag == second.tag));
        assert_eq!((pipeline.len(), cluster.router(1).calls_in_flight()), (0, 0));
    }
}

#[tokio::test]
async fn a_holder_that_says_nothing_is_not_waited_for() {
    let cluster = Cluster::start(2).await;
    let mut agent = Agent::attached(cluster.router(2), "d", 2).await;
    let mut pipeline = cluster.router(1).pipeline();
    pipeline.start(1, call_within("d", Duration::from_millis(200)));
    let _received = agent.next_call().await;
    cluster.stall(2, true);
    let failure = ended(&mut pipeline).await.result.expect_err("it is late");
    assert_eq!((failure.reason, failure.stage), (Reason::Deadline, Some(Stage::Forward)));
    assert_eq!(cluster.router(1).calls_in_flight(), 0);
}

#[tokio::test]
async fn what_one_node_cannot_take_goes_to_another() {
    let cluster = Cluster::start(2).await;
    let mut here = Agent::attached(cluster.router(1), "here", 1).await;
    let mut there = Agent::attached(cluster.router(2), "there", 1).await;
    let mut pipeline = cluster.router(1).pipeline();
    pipeline.start(1, call());
    let first = here.next_call().await;
    pipeline.start(2, call());
    let second = there.next_call().await;
    here.answer(1, &first, Bytes::from_static(b"a")).await;
    assert_eq!(ended(&mut pipeline).await.tag, 1);
    // The agent is full though its node did not know: nothing was executed, so that the other one gets it.
    let reason = device::RefusedReason::Busy.into();
    let refused = device::Refused { tag: second.tag, reason, message: String::new() };
    let _ = there.say(1, Up::Refused(refused)).await;
    let taken = async {
        let again = here.next_call().await;
        here.answer(1, &again, Bytes::from_static(b"b")).await;
    };
    let ((), ended) = tokio::join!(taken, ended(&mut pipeline));
    let reply = ended.result.expect("the call succeeds");
    assert_eq!((&reply.payload[..], reply.node.as_str()), (&b"b"[..], "n1"));
    assert!(reply.attempts >= 2, "it was routed {} times", reply.attempts);
}

#[tokio::test]
async fn calls_that_need_time_take_it() {
    let cluster = Cluster::start(2).await;
    let mut pipeline = cluster.router(1).pipeline();
    pipeline.start(1, Call { connect_wait: Duration::from_secs(5), ..call_to("d") });
    pipeline.start(2, Call { connect_wait: Duration::from_secs(5), ..call_to("never") });
    let (agent, first) = tokio::join!(
        async {
            let mut agent = Agent::attached(cluster.router(2), "d", 1).await;
            let call = agent.next_call().await;
            agent.answer(1, &call, Bytes::new()).await;
            agent
        },
        ended(&mut pipeline)
    );
    assert_eq!(first.tag, 1);
    first.result.expect("the call succeeds");
    pipeline.cancel(2);
    let second = ended(&mut pipeline).await;
    assert_eq!(second.result.expect_err("it is cancelled").reason, Reason::Cancelled);
    let nothing = poll_fn(|cx| pipeline.poll_ended(cx)).now_or_never();
    assert!(nothing.is_none());
    drop(agent);
    assert_eq!(cluster.router(1).calls_in_flight(), 0);
}

#[tokio::test]
async fn dropping_it_cancels_all_of_its_calls() {
    let cluster = Cluster::start(2).await;
    let mut agent = Agent::attached(cluster.router(2), "d", 2).await;
    let mut pipeline = cluster.router(1).pipeline();
    (0..2).for_each(|tag| pipeline.start(tag, call_to("d")));
    let mut running = vec![agent.next_call().await.tag, agent.next_call().await.tag];
    drop(pipeline);
    for _ in 0..2 {
        match agent.next().await {
            Down::Cancel(cancel) => running.retain(|tag| *tag != cancel.tag),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(running.is_empty());
    assert_eq!(cluster.router(1).calls_in_flight(), 0);
}

#[tokio::test]
async fn calls_wait_for_a_device_that_lost_its_connection_wherever_it_returns() {
    for (before, after) in [(1, 1), (2, 2), (2, 1), (1, 2)] {
        let cluster = Cluster::start(2).await;
        let mut agent = Agent::connect(cluster.router(before)).await;
        let first = agent.attach(1, attach("d", 5, 1, profile(2))).await;
        let mut pipeline = cluster.router(1).pipeline();
        pipeline.start(1, call_to("d"));
        let received = agent.next_call().await;
        drop(agent);
        let mut agent = Agent::connect(cluster.router(after)).await;
        let again = device::Attach {
            cluster_id: first.cluster_id,
            newest_epoch: first.epoch,
            resume_token: first.resume_token,
            running: vec![received.token.clone()],
            lists_all: true,
            ..attach("d", 5, 2, profile(2))
        };
        let attached = agent.attach(1, again).await;
        assert_eq!((attached.resumed, attached.replay), (before == after, true));
        agent.answer(1, &device::Call { tag: 0, ..received }, Bytes::from_static(b"kept")).await;
        let ended = ended(&mut pipeline).await;
        assert_eq!((ended.tag, &ended.result.expect("it is answered").payload[..]), (1, &b"kept"[..]));
        assert_eq!(cluster.router(1).calls_in_flight(), 0);
    }
}
