//! Long payloads on a device's connection wait for credit, one by one, and hold nobody else up.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod world;

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use rollcall_proto::device::{self, attach_request::Frame as Up, attach_response::Frame as Down};
use rollcall_router::{
    Call, Failure, Outcome, Reason, Reply, Router,
    limits::{CHUNK_BYTES, DEVICE_ROOM_BYTES},
};
use tokio::task::JoinHandle;
use world::{
    Cluster,
    agent::{Agent, attach, profile},
    call_to, call_within,
    registrar::FakeRegistrar,
};

const LARGE: usize = 1024 * 1024;

fn invoke(router: &Router<FakeRegistrar>, call: Call) -> JoinHandle<Result<Reply, Failure>> {
    let router = router.clone();
    tokio::spawn(async move { router.invoke(call).await })
}

async fn reply(call: JoinHandle<Result<Reply, Failure>>) -> Reply {
    call.await.expect("the task ends").expect("the call succeeds")
}

/// A device whose agent waits for credit, and gives it.
async fn device(cluster: &Cluster, capacity: u32) -> Agent {
    let mut agent = Agent::connect_on_credit(cluster.router(1)).await;
    agent.attach(1, attach("d", 5, 1, profile(capacity))).await;
    agent
}

/// The first part of a large result; the rest is yet to be sent.
async fn begin_result(agent: &mut Agent, call: &device::Call) {
    let result = device::Result {
        tag: call.tag,
        token: call.token.clone(),
        epoch: call.epoch,
        payload: vec![7; CHUNK_BYTES].into(),
        payload_bytes: LARGE as u64,
        ..Default::default()
    };
    let _ = agent.say(1, Up::Result(result.into())).await;
}

/// The rest of it.
async fn end_result(agent: &mut Agent, tag: u64) {
    let parts = LARGE / CHUNK_BYTES - 1;
    for part in 1..=parts {
        let chunk = device::Chunk { tag, data: vec![7; CHUNK_BYTES].into(), last: part == parts };
        let _ = agent.say(1, Up::Chunk(chunk)).await;
    }
}

#[tokio::test]
async fn of_a_hundred_large_replies_a_few_come_at_a_time_and_small_ones_pass_them() {
    let cluster = Cluster::start(1).await;
    let router = cluster.router(1);
    let mut agent = device(&cluster, 200).await;
    let calls: Vec<_> = (0..100).map(|_| invoke(router, call_to("d"))).collect();
    let mut received = Vec::new();
    for _ in 0..100 {
        received.push(agent.next_call().await);
    }
    for call in &received {
        begin_result(&mut agent, call).await;
    }
    let rest = (LARGE - CHUNK_BYTES) as u64;
    let at_once = usize::try_from(DEVICE_ROOM_BYTES / rest).expect("a few");
    let mut granted = Vec::new();
    for _ in 0..at_once {
        granted.push(credit(&mut agent, rest).await);
    }
    assert!(agent.hears_nothing().await, "there is room for {at_once}");

    // Neither the device itself nor another one is held up.
    let small = invoke(router, call_to("d"));
    let received = agent.next_call().await;
    agent.answer(1, &received, Bytes::from_static(b"small")).await;
    assert_eq!(&reply(small).await.payload[..], b"small");
    let _other = Agent::attached(router, "e", 1).await.echo();
    reply(invoke(router, call_to("e"))).await;

    for done in 0..100 {
        end_result(&mut agent, granted[done]).await;
        if granted.len() < 100 {
            granted.push(credit(&mut agent, rest).await);
        }
    }
    for call in calls {
        assert_eq!(reply(call).await.payload.len(), LARGE);
    }
    assert!(agent.hears_nothing().await);
}

async fn credit(agent: &mut Agent, bytes: u64) -> u64 {
    match agent.next().await {
        Down::Credit(credit) => {
            assert_eq!(credit.bytes, bytes);
            credit.tag
        }
        other => panic!("no credit, but {other:?}"),
    }
}

#[tokio::test]
async fn a_large_call_waits_for_the_device_and_holds_nobody_up() {
    let cluster = Cluster::start(1).await;
    let router = cluster.router(1);
    let mut agent = device(&cluster, 4).await;
    let payload = Bytes::from(vec![7; LARGE]);
    let late = Call { payload: payload.clone(), ..call_within("d", Duration::from_millis(300)) };
    let late = invoke(router, late);
    let Down::Call(never) = agent.next().await else { panic!("no call") };
    assert_eq!((never.payload.len(), never.payload_bytes), (CHUNK_BYTES, LARGE as u64));
    let small = invoke(router, call_to("d"));
    let received = agent.next_call().await;
    agent.answer(1, &received, Bytes::new()).await;
    reply(small).await;

    // It gave no credit: the caller's time runs out, and its place is free when it says so.
    let failure = late.await.expect("the task ends").expect_err("it is late");
    assert_eq!((failure.reason, failure.outcome), (Reason::Deadline, Outcome::Unknown));
    assert!(matches!(agent.next().await, Down::Cancel(cancel) if cancel.tag == never.tag));
    let cancelled = device::Cancelled { tag: never.tag, executed: false, ..Default::default() };
    let _ = agent.say(1, Up::Cancelled(cancelled)).await;
    let _ = agent.say(1, Up::Credit(device::Credit { tag: never.tag, bytes: 1, messages: 0 })).await;
    assert!(agent.hears_nothing().await, "nothing is left of it");

    let waiting = invoke(router, Call { payload: payload.clone(), ..call_to("d") });
    let Down::Call(call) = agent.next().await else { panic!("no call") };
    let mut arrived = HashMap::from([(call.tag, call.payload.to_vec())]);
    // Less than a chunk, then the rest.
    for bytes in [1_000, LARGE - CHUNK_BYTES - 1_000] {
        let credit = device::Credit { tag: call.tag, bytes: bytes as u64, messages: 0 };
        let _ = agent.say(1, Up::Credit(credit)).await;
        let mut open = bytes;
        while open > 0 {
            let Down::Chunk(chunk) = agent.next().await else { panic!("no chunk") };
            open -= chunk.data.len();
            arrived.get_mut(&chunk.tag).expect("of the call").extend_from_slice(&chunk.data);
        }
    }
    assert!(arrived[&call.tag] == payload, "another payload has arrived");
    agent.answer(1, &call, Bytes::new()).await;
    reply(waiting).await;
}

#[tokio::test]
async fn a_result_that_nobody_wants_is_sent_on_and_dropped() {
    let cluster = Cluster::start(1).await;
    let mut agent = device(&cluster, 2).await;
    let stray = device::Call { tag: 77, epoch: 1, ..Default::default() };
    begin_result(&mut agent, &stray).await;
    assert_eq!(credit(&mut agent, (LARGE - CHUNK_BYTES) as u64).await, 77);
    end_result(&mut agent, 77).await;
    let waiting = invoke(cluster.router(1), call_to("d"));
    let received = agent.next_call().await;
    agent.answer(1, &received, Bytes::new()).await;
    reply(waiting).await;
}
