//! Connections and sessions: loss, supersession, moves, refusals, ends.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod node;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use node::{Connection, Node, until, within};
use rollcall_agent::{
    Agent, AgentBuilder, AgentHandle, AgentState, Call, CloseCode, InvalidDevice, Reply, StopReason,
};
use rollcall_proto::device::{self as wire, RefusedReason, attach_request, attach_response::Frame};
use tokio::sync::Notify;

fn agent(nodes: &[&Node]) -> AgentBuilder {
    Agent::builder(nodes.iter().map(|node| node.url.clone()))
        .in_order()
        .device("phone-1")
        .group("sign")
        .action("echo", |call: Call| async move { Ok(Reply::from(call.payload)) })
}

/// An agent whose action `wait` ends when it is told to, and says when it has begun.
fn waiting(nodes: &[&Node]) -> (AgentHandle, Arc<Notify>, Arc<Notify>) {
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begin, gate) = (Arc::clone(&begun), Arc::clone(&go));
    let wait = move |_: Call| {
        let (begin, gate) = (Arc::clone(&begin), Arc::clone(&gate));
        async move {
            begin.notify_one();
            gate.notified().await;
            Ok(Reply::from("done"))
        }
    };
    (agent(nodes).capacity(4).action("wait", wait).start(), begun, go)
}

async fn state_of(agent: &AgentHandle, what: &str, holds: impl FnMut(&AgentState) -> bool) -> AgentState {
    within(what, agent.state().wait_for(holds)).await.expect("a state").clone()
}

async fn attached_to(agent: &AgentHandle, name: &str) {
    let there = |state: &AgentState| matches!(state, AgentState::Attached { node, .. } if node == name);
    state_of(agent, name, there).await;
}

fn away(code: CloseCode) -> Frame {
    let millis = |nanos: i32| Some(prost_types::Duration { seconds: 0, nanos: nanos * 1_000_000 });
    Frame::GoAway(wire::GoAway { code: code.into(), reconnect_after: millis(10), ..wire::GoAway::default() })
}

async fn echoes(connection: &mut Connection, tag: u64) {
    connection.call(tag, "echo", Bytes::from_static(b"hello")).await;
    assert_eq!(&connection.result().await.payload[..], b"hello");
}

#[tokio::test]
async fn after_a_loss_the_device_comes_back_with_what_it_held() {
    let mut node = Node::start("n1").await;
    let agent = agent(&[&node]).start();
    let (connection, first) = node.attach(7).await;
    attached_to(&agent, "n1").await;
    drop(connection);
    let (mut connection, again) = node.attach(8).await;
    assert_eq!(again.instance, first.instance);
    assert!(again.attach_number > first.attach_number);
    assert_eq!(
        (again.cluster_id.as_str(), again.newest_epoch, &again.resume_token[..]),
        ("k", 7, &b"resume 7"[..])
    );
    echoes(&mut connection, 1).await;
    let call = wire::Call { epoch: 7, action: "echo".into(), ..wire::Call::default() };
    connection.call_with(1, 2, Bytes::new(), call).await;
    assert_eq!(connection.refused().await.reason(), RefusedReason::StaleEpoch);
}

#[tokio::test]
async fn a_dead_server_is_left_for_the_next_on_the_list() {
    let (dead, mut node) = (Node::start("n1").await, Node::start("n2").await);
    let servers = [dead.url.clone(), node.url.clone()];
    drop(dead);
    let agent = Agent::builder(servers).device("phone-1").group("sign").start();
    let _held = node.attach(1).await;
    attached_to(&agent, "n2").await;
}

#[tokio::test]
async fn agents_with_the_same_list_begin_anywhere_on_it() {
    let (mut n1, mut n2) = (Node::start("n1").await, Node::start("n2").await);
    let agents: Vec<_> = (0..40)
        .map(|number| {
            let servers = [n1.url.clone(), n2.url.clone()];
            Agent::builder(servers).device(format!("phone-{number}")).group("sign").start()
        })
        .collect();
    // Forty agents that all begin at one of two servers: less than one run in five hundred thousand million.
    let both = async { (n1.welcome().await, n2.welcome().await) };
    within("a device on each node", both).await;
    drop(agents);
}

#[tokio::test]
async fn a_call_survives_the_move_to_another_node() {
    let (mut n1, mut n2) = (Node::start("n1").await, Node::start("n2").await);
    let (agent, begun, go) = waiting(&[&n1, &n2]);
    let (mut connection, _) = n1.attach(7).await;
    echoes(&mut connection, 1).await;
    connection.call(2, "wait", Bytes::new()).await;
    within("the handler's start", begun.notified()).await;
    drop(connection);
    drop(n1);
    let (mut connection, attach) = n2.attach(8).await;
    assert_eq!(attach.running, [Bytes::from_static(b"token 2")]);
    // It was written, but nobody can say that it had arrived.
    assert_eq!(attach.finished, [Bytes::from_static(b"token 1")]);
    let replayed = connection.result().await;
    assert_eq!(
        (&replayed.token[..], &replayed.payload[..], replayed.tag),
        (&b"token 1"[..], &b"hello"[..], 0)
    );
    go.notify_one();
    let result = connection.result().await;
    assert_eq!(
        (&result.token[..], &result.payload[..], result.epoch),
        (&b"token 2"[..], &b"done"[..], u64::MAX)
    );
    attached_to(&agent, "n2").await;
}

#[tokio::test]
async fn an_idempotent_call_that_comes_again_by_another_node_is_not_run_again() {
    let (mut n1, mut n2) = (Node::start("n1").await, Node::start("n2").await);
    let (agent, begun, go) = waiting(&[&n1, &n2]);
    let call = |tag, epoch, payload: &'static str| {
        let payload = Bytes::from_static(payload.as_bytes());
        Frame::Call(
            wire::Call {
                tag,
                token: Bytes::from(format!("token-{tag}")),
                epoch,
                action: "wait".into(),
                request_id: "r-1".into(),
                idempotent: true,
                payload_bytes: payload.len() as u64,
                payload,
                ..wire::Call::default()
            }
            .into(),
        )
    };
    let (first, _) = n1.attach(1).await;
    first.send(1, call(1, 1, "x")).await;
    within("the handler's start", begun.notified()).await;
    drop((first, n1));
    let (mut second, _) = n2.attach(2).await;
    second.send(1, call(5, 2, "x")).await;
    second.send(1, call(6, 2, "other")).await;
    let refused = within("a refusal", second.next()).await;
    let attach_request::Frame::Refused(refused) = refused.1 else { panic!("no refusal but {refused:?}") };
    assert_eq!((refused.tag, refused.reason()), (6, RefusedReason::RequestIdConflict));
    go.notify_one();
    let result = second.result().await;
    assert_eq!((result.tag, &result.payload[..]), (5, &b"done"[..]));
    // The first call's own result comes too, under tag 0.
    assert_eq!(&second.result().await.token[..], b"token-1");
    second.send(1, call(7, 2, "x")).await;
    let result = second.result().await;
    assert_eq!((result.tag, &result.token[..], &result.payload[..]), (7, &b"token-7"[..], &b"done"[..]));
    agent.shutdown().await;
}

#[tokio::test]
async fn a_draining_node_is_left_before_it_breaks() {
    let (mut n1, mut n2) = (Node::start("n1").await, Node::start("n2").await);
    let (agent, begun, go) = waiting(&[&n1, &n2]);
    let (mut old, _) = n1.attach(7).await;
    old.call(1, "wait", Bytes::new()).await;
    within("the handler's start", begun.notified()).await;
    old.send(0, away(CloseCode::GoingAway)).await;
    let (mut new, attach) = n2.attach(8).await;
    assert_eq!(attach.newest_epoch, 7);
    echoes(&mut new, 1).await;
    // The old connection still delivers what runs there, then the agent ends it.
    old.send(1, Frame::Superseded(wire::Superseded { winner_epoch: 8, same_instance: true })).await;
    go.notify_one();
    assert_eq!(&old.result().await.payload[..], b"done");
    assert!(old.try_next().await.is_none());
    assert!(agent.state().borrow().is_attached());
}

#[tokio::test]
async fn a_call_that_crosses_the_move_has_an_answer() {
    let (mut n1, mut n2) = (Node::start("n1").await, Node::start("n2").await);
    let agent = agent(&[&n1, &n2]).start();
    let (mut old, _) = n1.attach(7).await;
    old.send(0, away(CloseCode::GoingAway)).await;
    let (mut new, _) = n2.attach(8).await;
    attached_to(&agent, "n2").await;
    echoes(&mut new, 1).await;
    // The old node has not heard of the new session yet.
    let call = wire::Call { epoch: 7, action: "echo".into(), ..wire::Call::default() };
    old.call_with(1, 1, Bytes::new(), call).await;
    assert_eq!(old.refused().await.reason(), RefusedReason::StaleEpoch);
    old.send(1, Frame::Superseded(wire::Superseded { winner_epoch: 8, same_instance: true })).await;
    assert!(old.try_next().await.is_none(), "nothing is owed to it any more");
}

#[tokio::test]
async fn a_device_that_was_superseded_does_not_fight() {
    let mut node = Node::start("n1").await;
    let agent = agent(&[&node]).start();
    let (mut connection, _) = node.attach(7).await;
    connection.send(1, Frame::Superseded(wire::Superseded { winner_epoch: 8, same_instance: false })).await;
    let refused = |state: &AgentState| matches!(state, AgentState::Refused { .. });
    let state = state_of(&agent, "superseded", refused).await;
    let AgentState::Refused { code, retry_in, .. } = state else { panic!("{state:?}") };
    assert_eq!(code, CloseCode::Superseded);
    assert!((Duration::from_secs(60)..=Duration::from_secs(90)).contains(&retry_in), "{retry_in:?}");
    assert!(connection.try_next().await.is_none(), "the connection is of no use");
}

#[tokio::test]
async fn a_node_without_a_leader_sends_the_device_elsewhere() {
    let (mut n1, mut n2) = (Node::start("n1").await, Node::start("n2").await);
    let agent = Agent::builder([n1.url.clone()]).device("phone-1").group("sign").start();
    let mut connection = n1.welcome().await;
    connection.expect_attach(1).await;
    let refused = wire::AttachRefused {
        code: CloseCode::Unavailable.into(),
        try_addrs: vec![n2.url.trim_start_matches("http://").to_owned()],
        ..wire::AttachRefused::default()
    };
    connection.send(1, Frame::AttachRefused(refused)).await;
    let _held = n2.attach(1).await;
    attached_to(&agent, "n2").await;
}

#[tokio::test]
async fn a_refusal_for_good_stops_the_agent_with_its_reason() {
    let mut node = Node::start("n1").await;
    let agent = agent(&[&node]).start();
    let mut connection = node.welcome().await;
    connection.expect_attach(1).await;
    let refused = wire::AttachRefused {
        code: CloseCode::Invalid.into(),
        message: "groups: too long".into(),
        ..wire::AttachRefused::default()
    };
    connection.send(1, Frame::AttachRefused(refused)).await;
    let reason = within("the agent's end", agent.stopped()).await;
    assert_eq!(reason, StopReason::Refused { code: CloseCode::Invalid, message: "groups: too long".into() });
    assert_eq!(reason.to_string(), "refused as INVALID: groups: too long");
}

#[tokio::test]
async fn what_cannot_be_attached_is_not_even_tried() {
    let stopped = |builder: AgentBuilder| async move { builder.start().stopped().await };
    let none: [&str; 0] = [];
    let base = || Agent::builder(["http://h:1"]).device("phone-1").group("sign");
    assert_eq!(stopped(Agent::builder(none).device("d").group("g")).await, InvalidDevice::NoServer.into());
    let server = InvalidDevice::Server("ftp://h:1".into());
    assert_eq!(stopped(Agent::builder(["ftp://h:1"]).device("d").group("g")).await, server.into());
    let id = InvalidDevice::Name { what: "device id", name: String::new() };
    assert_eq!(stopped(base().device("")).await, id.into());
    let capacity = InvalidDevice::Count { what: "calls of capacity", found: 0, min: 1, max: 65_536 };
    assert_eq!(stopped(base().capacity(0)).await, capacity.into());
    let groups = InvalidDevice::Count { what: "groups", found: 0, min: 1, max: 16 };
    assert_eq!(stopped(Agent::builder(["h:1"]).device("d")).await, groups.into());
}

#[tokio::test]
async fn a_silent_node_is_dropped_after_two_intervals_and_a_ping_is_answered() {
    let mut node = Node::start("n1").await;
    let agent = agent(&[&node]).start();
    let heartbeat_interval = Some(prost_types::Duration { seconds: 0, nanos: 200_000_000 });
    let welcome = || wire::Welcome { heartbeat_interval, ..wire::Welcome::default() };
    let mut connection = node.welcome_with(welcome()).await;
    connection.attach(1, 1).await;
    connection.send(0, Frame::Ping(wire::Ping { number: 42 })).await;
    let (_, pong) = connection.next().await;
    assert_eq!(pong, attach_request::Frame::Pong(wire::Pong { number: 42 }));
    let silent = |state: &AgentState| matches!(state, AgentState::Waiting { why, .. } if why.contains("two heartbeat"));
    state_of(&agent, "the silence is noticed", silent).await;
    node.welcome_with(welcome()).await.attach(1, 2).await;
}

#[tokio::test]
async fn a_shutdown_lets_running_calls_finish_and_says_goodbye() {
    let mut node = Node::start("n1").await;
    let (agent, begun, go) = waiting(&[&node]);
    let (mut connection, _) = node.attach(1).await;
    connection.call(1, "wait", Bytes::new()).await;
    within("the handler's start", begun.notified()).await;
    let shutdown = tokio::spawn(agent.shutdown());
    let mut tag = 1;
    // The order to stop and a call may cross.
    loop {
        tag += 1;
        connection.call(tag, "echo", Bytes::new()).await;
        match connection.next().await.1 {
            attach_request::Frame::Refused(refused) => {
                break assert_eq!(refused.reason(), RefusedReason::Stopping);
            }
            attach_request::Frame::Result(_) => {}
            other => panic!("{other:?}"),
        }
    }
    go.notify_one();
    assert_eq!(&connection.result().await.payload[..], b"done");
    assert!(matches!(connection.next().await, (1, attach_request::Frame::Detach(_))));
    assert!(connection.try_next().await.is_none());
    drop(connection);
    within("the shutdown", shutdown).await.expect("no panic");
}

#[tokio::test]
async fn a_dropped_handle_leaves_nothing_behind() {
    let mut node = Node::start("n1").await;
    let (agent, begun, go) = waiting(&[&node]);
    let (mut connection, _) = node.attach(1).await;
    connection.call(1, "wait", Bytes::new()).await;
    within("the handler's start", begun.notified()).await;
    drop(agent);
    while connection.try_next().await.is_some() {}
    until("the handler is gone", || Arc::strong_count(&go) == 1).await;
}
