//! Calls over a real connection: answers, chunks, cancels, bounds, panics.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod node;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use node::{CHUNK_BYTES, Node, until, within};
use rollcall_agent::{Agent, AgentBuilder, Call, Device, HandlerError, Reply, Site};
use rollcall_proto::device::{self as wire, RefusedReason, attach_request, attach_response::Frame};
use tokio::sync::Notify;

fn agent(node: &Node) -> AgentBuilder {
    Agent::builder([node.url.clone()])
        .device("phone-1")
        .group("sign")
        .label("site", "hz1")
        .capacity(4)
        .action(
            "echo",
            |call: Call| async move { Ok(Reply::from(call.payload).content_type(call.content_type)) },
        )
}

fn pattern(bytes: usize) -> Bytes {
    (0..bytes).map(|n| (n % 251) as u8).collect()
}

#[tokio::test]
async fn a_device_attaches_with_what_it_is_and_answers() {
    let mut node = Node::start("n1").await;
    let agent = agent(&node).namespace("blue").start();
    let (mut connection, attach) = node.attach(7).await;
    let profile = attach.profile.expect("a profile");
    assert_eq!((attach.namespace.as_str(), attach.device_id.as_str()), ("blue", "phone-1"));
    assert!(attach.instance != 0 && attach.attach_number > 0);
    assert_eq!(
        (profile.groups, profile.actions, profile.capacity),
        (vec!["sign".into()], vec!["echo".into()], 4)
    );
    assert_eq!(profile.labels.get("site").map(String::as_str), Some("hz1"));
    within("attached", agent.attached()).await.expect("attached");

    let call = wire::Call {
        epoch: 7,
        action: "echo".into(),
        content_type: "text/plain".into(),
        ..wire::Call::default()
    };
    connection.call_with(1, 1, Bytes::from_static(b"hello"), call).await;
    let result = connection.result().await;
    assert_eq!((result.tag, result.epoch, &result.payload[..]), (1, 7, &b"hello"[..]));
    assert_eq!((&result.token[..], result.content_type.as_str()), (&b"token 1"[..], "text/plain"));
    agent.shutdown().await;
}

#[tokio::test]
async fn half_a_megabyte_goes_both_ways_in_chunks() {
    let mut node = Node::start("n1").await;
    let _agent = agent(&node).start();
    let (mut connection, _) = node.attach(1).await;
    let payload = pattern(500_000);
    connection.call(1, "echo", payload.clone()).await;
    assert_eq!(connection.result().await.payload, payload);
}

#[tokio::test]
async fn long_payloads_wait_for_credit_both_ways_and_short_ones_do_not() {
    let mut node = Node::start("n1").await;
    let _agent = agent(&node).start();
    let mut connection = node.welcome_with(wire::Welcome { credit: true, ..Default::default() }).await;
    connection.attach(1, 1).await;
    let (payload, part) = (pattern(200_000), CHUNK_BYTES as usize);
    let mut rest = payload.clone();
    let call = wire::Call {
        tag: 1,
        epoch: 1,
        action: "echo".into(),
        payload: rest.split_to(part),
        payload_bytes: payload.len() as u64,
        ..wire::Call::default()
    };
    connection.send(1, Frame::Call(call.into())).await;
    let missing = rest.len() as u64;
    match connection.next().await {
        (1, attach_request::Frame::Credit(credit)) => assert_eq!((credit.tag, credit.bytes), (1, missing)),
        other => panic!("no Credit but {other:?}"),
    }
    while !rest.is_empty() {
        let data = rest.split_to(part.min(rest.len()));
        connection.send(1, Frame::Chunk(wire::Chunk { tag: 1, data, last: rest.is_empty() })).await;
    }
    let (_, attach_request::Frame::Result(first)) = connection.next().await else { panic!("no Result") };
    assert_eq!((first.payload.len(), first.payload_bytes), (part, payload.len() as u64));
    connection.call(2, "echo", pattern(10)).await;
    assert_eq!(connection.result().await.tag, 2);

    connection.send(1, Frame::Credit(wire::Credit { tag: 1, bytes: missing, messages: 0 })).await;
    let mut arrived = first.payload.to_vec();
    while arrived.len() < payload.len() {
        match connection.next().await {
            (1, attach_request::Frame::Chunk(chunk)) => arrived.extend_from_slice(&chunk.data),
            other => panic!("no Chunk but {other:?}"),
        }
    }
    assert!(arrived == payload, "another payload came back");
}

#[tokio::test]
async fn a_small_reply_overtakes_large_ones_that_take_turns() {
    let mut node = Node::start("n1").await;
    let _agent = agent(&node).start();
    let (mut connection, _) = node.attach(1).await;
    let large = pattern(8 * 1024 * 1024);
    connection.call(1, "echo", large.clone()).await;
    connection.call(2, "echo", large.clone()).await;
    let first = connection.next().await;
    assert!(matches!(first.1, attach_request::Frame::Result(_)));
    connection.call(3, "echo", Bytes::from_static(b"small")).await;
    let (mut chunks, mut turns, mut before) = ([0; 3], 0, 0);
    let mut small_after = None;
    while chunks[1] + chunks[2] < 2 * (large.len() / CHUNK_BYTES as usize - 1) {
        match connection.next().await.1 {
            attach_request::Frame::Chunk(chunk) => {
                chunks[chunk.tag as usize] += 1;
                turns += usize::from(chunk.tag != before);
                before = chunk.tag;
            }
            attach_request::Frame::Result(result) if result.tag == 3 => {
                small_after = Some(chunks[1] + chunks[2])
            }
            attach_request::Frame::Result(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(turns > 50, "{turns} turns");
    assert!(
        small_after.is_some_and(|after| after < 200),
        "the small reply came after {small_after:?} chunks"
    );
}

#[tokio::test]
async fn a_cancelled_handler_is_dropped_and_says_so() {
    struct Dropped(Arc<Notify>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let mut node = Node::start("n1").await;
    let (started, dropped) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (said, watch) = (Arc::clone(&started), Arc::clone(&dropped));
    let slow = move |_: Call| {
        let (said, watch) = (Arc::clone(&said), Dropped(Arc::clone(&watch)));
        async move {
            let _watch = watch;
            said.notify_one();
            std::future::pending().await
        }
    };
    let _agent = agent(&node).action("slow", slow).start();
    let (mut connection, _) = node.attach(1).await;
    connection.call(1, "slow", Bytes::new()).await;
    within("the handler's start", started.notified()).await;
    connection.send(1, Frame::Cancel(wire::Cancel { tag: 1, ..Default::default() })).await;
    let cancelled = connection.cancelled().await;
    assert!(cancelled.tag == 1 && cancelled.executed);
    within("the handler's end", dropped.notified()).await;
}

#[tokio::test]
async fn more_calls_than_the_capacity_are_refused_and_a_result_makes_room() {
    let mut node = Node::start("n1").await;
    let go = Arc::new(Notify::new());
    let gate = Arc::clone(&go);
    let wait = move |_: Call| {
        let gate = Arc::clone(&gate);
        async move {
            gate.notified().await;
            Ok(Reply::from("done"))
        }
    };
    let _agent = agent(&node).capacity(2).action("wait", wait).start();
    let (mut connection, _) = node.attach(1).await;
    for tag in 1..=3 {
        connection.call(tag, "wait", Bytes::new()).await;
    }
    let refused = connection.refused().await;
    assert_eq!((refused.tag, refused.reason()), (3, RefusedReason::Busy));
    go.notify_one();
    let result = connection.result().await;
    assert_eq!(&result.payload[..], b"done");
    connection.call(4, "echo", Bytes::new()).await;
    assert_eq!(connection.result().await.tag, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_device_takes_a_new_call_for_each_result_without_a_single_refusal() {
    let mut node = Node::start("n1").await;
    let _agent = agent(&node).capacity(2).start();
    let (mut connection, _) = node.attach(1).await;
    connection.call(1, "echo", Bytes::new()).await;
    connection.call(2, "echo", Bytes::new()).await;
    for tag in 3..20_000 {
        let (_, frame) = connection.next().await;
        assert!(matches!(frame, attach_request::Frame::Result(_)), "call {tag}: {frame:?}");
        connection.call(tag, "echo", Bytes::new()).await;
    }
}

#[tokio::test]
async fn a_thousand_calls_run_at_once() {
    let mut node = Node::start("n1").await;
    let running = Arc::new(AtomicUsize::new(0));
    let go = Arc::new(tokio::sync::Semaphore::new(0));
    let (count, gate) = (Arc::clone(&running), Arc::clone(&go));
    let wait = move |call: Call| {
        let (count, gate) = (Arc::clone(&count), Arc::clone(&gate));
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            let _pass = gate.acquire().await?;
            Ok(Reply::from(call.payload))
        }
    };
    let _agent = agent(&node).capacity(1_000).action("wait", wait).start();
    let (mut connection, _) = node.attach(1).await;
    for tag in 1..=1_000 {
        connection.call(tag, "wait", Bytes::from(tag.to_string())).await;
    }
    until("all calls run", || running.load(Ordering::SeqCst) == 1_000).await;
    go.add_permits(1);
    for _ in 0..1_000 {
        let result = connection.result().await;
        assert_eq!(result.payload, result.tag.to_string());
    }
}

#[tokio::test]
async fn a_failing_and_a_panicking_handler_are_errors_of_the_device() {
    let mut node = Node::start("n1").await;
    let fail = |_: Call| async { Err(HandlerError::new("x".repeat(5_000))) };
    let parse = |_: Call| async { Ok(Reply::from("no number".parse::<u32>()?.to_string())) };
    let panic = |call: Call| async move {
        assert!(call.payload.len() > 9, "too short");
        Ok(Reply::default())
    };
    let _agent = agent(&node).action("fail", fail).action("parse", parse).action("panic", panic).start();
    let (mut connection, _) = node.attach(1).await;
    connection.call(1, "fail", Bytes::new()).await;
    assert_eq!(connection.result().await.error.map(|error| error.message.len()), Some(4_096));
    connection.call(2, "parse", Bytes::new()).await;
    assert_eq!(connection.result().await.error.expect("an error").message, "invalid digit found in string");
    connection.call(3, "panic", Bytes::new()).await;
    assert_eq!(connection.result().await.error.expect("an error").message, "the handler panicked: too short");
    connection.call(4, "echo", Bytes::from_static(b"still here")).await;
    assert_eq!(&connection.result().await.payload[..], b"still here");
}

#[tokio::test]
async fn a_handler_that_overstays_its_deadline_is_dropped() {
    let mut node = Node::start("n1").await;
    let slow = |_: Call| async { std::future::pending().await };
    let _agent = agent(&node).action("slow", slow).start();
    let (mut connection, _) = node.attach(1).await;
    let remaining = Some(prost_types::Duration { seconds: 0, nanos: 100_000_000 });
    let call = wire::Call { epoch: 1, action: "slow".into(), remaining, ..wire::Call::default() };
    connection.call_with(1, 1, Bytes::new(), call).await;
    assert!(connection.cancelled().await.executed);
}

#[tokio::test]
async fn two_devices_share_a_connection() {
    let mut node = Node::start("n1").await;
    let phone = |id: &'static str| {
        Device::new(id).group("sign").action("who", move |call: Call| async move {
            assert_eq!(&*call.device_id, id);
            Ok(Reply::from(id))
        })
    };
    let site = Site::builder([node.url.clone()]).device(phone("phone-1")).device(phone("phone-2")).start();
    let mut connection = node.welcome().await;
    assert_eq!(connection.attach(1, 10).await.device_id, "phone-1");
    assert_eq!(connection.attach(2, 11).await.device_id, "phone-2");
    let call = wire::Call { epoch: 11, action: "who".into(), ..wire::Call::default() };
    connection.call_with(2, 1, Bytes::new(), call).await;
    assert_eq!(&connection.result().await.payload[..], b"phone-2");
    let mut state = site.state("default", "phone-2").expect("a device");
    within("attached", state.wait_for(rollcall_agent::AgentState::is_attached)).await.expect("a state");
    assert!(site.state("default", "phone-3").is_none());
    site.shutdown().await;
}
