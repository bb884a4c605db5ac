//! A node that lost its lease and is registered again: which of its devices' streams go on, and which do not.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod world;

use std::time::Duration;

use bytes::Bytes;
use rollcall_proto::device::{
    Attached, CloseCode, attach_request::Frame as Up, attach_response::Frame as Down,
};
use rollcall_registry::{ChangeError, Registrar, model::ids::NodeId, routes::view::Route};
use rollcall_router::{Failure, Outcome, Reply, Router};
use tokio::task::JoinHandle;
use world::{
    Cluster,
    agent::{Agent, attach, profile},
    call_to,
    registrar::FakeRegistrar,
    wait_until,
};

fn invoke(router: &Router<FakeRegistrar>, call: rollcall_router::Call) -> JoinHandle<Result<Reply, Failure>> {
    let router = router.clone();
    tokio::spawn(async move { router.invoke(call).await })
}

/// Who holds the device, as this node's replica has it.
fn holder(cluster: &Cluster, device: &str) -> Option<NodeId> {
    match cluster.registrar(1).routes().route("default", device) {
        Route::Held { session, .. } => Some(session.node),
        Route::NotConnected | Route::Disabled { .. } => None,
    }
}

async fn attached_again(agent: &mut Agent) -> Attached {
    match agent.next().await {
        Down::Attached(attached) => attached,
        other => panic!("expected Attached, got {other:?}"),
    }
}

#[tokio::test]
async fn a_stream_that_answers_goes_on_under_a_newer_epoch() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::connect(cluster.router(1)).await;
    let first = agent.attach(1, attach("d", 5, 1, profile(2))).await;
    let running = invoke(cluster.router(1), call_to("d"));
    let call = agent.next_call().await;
    cluster.down(1);
    assert_eq!(holder(&cluster, "d"), None);
    cluster.up(1, 2);
    let again = attached_again(&mut agent).await;
    assert!(again.resumed && again.epoch > first.epoch);
    assert_ne!(again.resume_token, first.resume_token);
    wait_until("the device is held again", || holder(&cluster, "d") == Some(NodeId(1))).await;
    agent.answer(1, &call, Bytes::from_static(b"from before")).await;
    let reply = running.await.expect("the task ends").expect("its result passes");
    assert_eq!(&reply.payload[..], b"from before");
    let after = invoke(cluster.router(1), call_to("d"));
    let call = agent.next_call().await;
    assert_eq!(call.epoch, again.epoch);
    agent.answer(1, &call, Bytes::new()).await;
    assert_eq!(after.await.expect("the task ends").expect("it is callable").epoch.0, again.epoch);
    assert!(agent.hears_nothing().await, "nothing closes it afterwards");
}

#[tokio::test]
async fn a_call_that_waited_under_the_old_epoch_is_sent_under_the_new_one_only_after_another_look() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::connect(cluster.router(1)).await;
    agent.attach(1, attach("d", 5, 1, profile(1))).await;
    let running = invoke(cluster.router(1), call_to("d"));
    let first = agent.next_call().await;
    let queued = invoke(cluster.router(1), call_to("d"));
    wait_until("both calls are in flight", || cluster.router(1).calls_in_flight() == 2).await;
    cluster.down(1);
    cluster.up(1, 2);
    attached_again(&mut agent).await;
    agent.answer(1, &first, Bytes::new()).await;
    running.await.expect("the task ends").expect("the device had it");
    let moved = agent.next_call().await;
    agent.answer(1, &moved, Bytes::new()).await;
    let reply = queued.await.expect("the task ends").expect("it is tried again");
    assert_eq!((reply.attempts, reply.epoch.0), (2, moved.epoch));
}

#[tokio::test]
async fn a_device_that_moved_meanwhile_stays_where_it_is() {
    let cluster = Cluster::start(2).await;
    let mut old = Agent::connect(cluster.router(1)).await;
    old.attach(1, attach("d", 5, 1, profile(1))).await;
    cluster.down(1);
    let mut new = Agent::connect(cluster.router(2)).await;
    let moved = new.attach(1, attach("d", 6, 1, profile(1))).await;
    cluster.up(1, 2);
    match old.next().await {
        Down::Superseded(notice) => {
            assert_eq!((notice.winner_epoch, notice.same_instance), (moved.epoch, false));
        }
        other => panic!("expected Superseded, got {other:?}"),
    }
    assert_eq!(holder(&cluster, "d"), Some(NodeId(2)));
    assert_eq!(cluster.router(1).device_count(), 0);
    assert!(new.hears_nothing().await);
}

#[tokio::test]
async fn a_stream_that_its_own_device_left_for_another_node_and_then_left_that_is_not_revived() {
    let cluster = Cluster::start(2).await;
    let mut old = Agent::connect(cluster.router(1)).await;
    old.attach(1, attach("d", 5, 1, profile(1))).await;
    cluster.down(1);
    let mut new = Agent::connect(cluster.router(2)).await;
    new.attach(1, attach("d", 5, 2, profile(1))).await;
    let _ = new.say(1, Up::Detach(Default::default())).await;
    wait_until("nobody holds it", || holder(&cluster, "d").is_none()).await;
    cluster.up(1, 2);
    assert!(matches!(old.next().await, Down::Superseded(notice) if notice.same_instance));
    assert_eq!(holder(&cluster, "d"), None);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_does_not_answer_is_nobodys_until_it_does() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 1).await;
    // Heard long enough ago that it may be gone, and not so long that it is dropped.
    tokio::time::sleep(Duration::from_secs(4)).await;
    cluster.down(1);
    cluster.up(1, 2);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(holder(&cluster, "d"), None, "it has not answered");
    assert_eq!(cluster.router(1).device_count(), 1);
    assert!(attached_again(&mut agent).await.resumed);
    assert_eq!(holder(&cluster, "d"), Some(NodeId(1)));
}

#[tokio::test]
async fn an_announcement_that_meets_no_leader_is_made_again() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 1).await;
    let no_leader = ChangeError::NoLeader { retry_after: Duration::from_secs(1) };
    *cluster.registrar(1).refuse.lock() = Some(no_leader);
    cluster.down(1);
    cluster.up(1, 2);
    assert!(agent.hears_nothing().await);
    *cluster.registrar(1).refuse.lock() = None;
    assert!(attached_again(&mut agent).await.resumed);
}

#[tokio::test]
async fn an_attach_of_the_device_itself_wins_over_the_announcement_of_its_old_stream() {
    let cluster = Cluster::start(1).await;
    let mut old = Agent::connect(cluster.router(1)).await;
    old.attach(1, attach("d", 5, 1, profile(1))).await;
    let gate = cluster.registrar(1).gate.lock().await;
    cluster.down(1);
    cluster.up(1, 2);
    let mut new = Agent::connect(cluster.router(1)).await;
    assert!(new.say(1, Up::Attach(attach("d", 5, 2, profile(1)))).await.is_continue());
    assert!(old.hears_nothing().await, "it answers the ping, and waits for its announcement");
    drop(gate);
    let newest = attached_again(&mut new).await;
    let mut superseded = None;
    while superseded.is_none() {
        match old.next().await {
            Down::Attached(_) => {}
            Down::Superseded(notice) => superseded = Some(notice.winner_epoch),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(superseded, Some(newest.epoch));
    wait_until("one session is left", || cluster.router(1).device_count() == 1).await;
    let waiting = invoke(cluster.router(1), call_to("d"));
    let call = new.next_call().await;
    new.answer(1, &call, Bytes::new()).await;
    waiting.await.expect("the task ends").expect("the newest stream has it");
}

#[tokio::test]
async fn a_device_that_was_disabled_meanwhile_is_told_so() {
    let cluster = Cluster::start(1).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 1).await;
    *cluster.registrar(1).refuse.lock() =
        Some(ChangeError::Rejected(rollcall_registry::model::rejection::ChangeRejection::Disabled));
    let running = invoke(cluster.router(1), call_to("d"));
    agent.next_call().await;
    cluster.down(1);
    cluster.up(1, 2);
    match agent.next().await {
        Down::Closed(closed) => assert_eq!(closed.code(), CloseCode::Forbidden),
        other => panic!("expected Closed, got {other:?}"),
    }
    let failure = running.await.expect("the task ends").expect_err("its session is over");
    assert_eq!(failure.outcome, Outcome::Unknown);
}
