//! Agent processes that take one device from each other.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod world;

use std::time::Duration;

use bytes::Bytes;
use rollcall_proto::device::{CloseCode, attach_request::Frame as Up, attach_response::Frame as Down};
use rollcall_router::Router;
use tokio::{task::JoinHandle, time::sleep};
use world::{
    Cluster,
    agent::{Agent, attach, profile},
    call_to,
    registrar::FakeRegistrar,
};

/// A process attaches, and hears whether it may.
async fn comes(router: &Router<FakeRegistrar>, instance: u64, number: u64) -> Result<Agent, Duration> {
    let mut agent = Agent::connect(router).await;
    assert!(agent.say(1, Up::Attach(attach("d", instance, number, profile(1)))).await.is_continue());
    match agent.next().await {
        Down::Attached(_) => Ok(agent),
        Down::AttachRefused(refused) => {
            assert_eq!(refused.code(), CloseCode::Superseded, "{refused:?}");
            Err(refused.retry_after.expect("a time to come again").try_into().expect("a duration"))
        }
        other => panic!("expected an answer, got {other:?}"),
    }
}

/// As many takeovers as are one too many; the last process has the device.
async fn contested(router: &Router<FakeRegistrar>) -> Agent {
    for instance in 1..=3 {
        assert!(comes(router, instance, 1).await.is_ok(), "{instance} is let in");
    }
    comes(router, 4, 1).await.expect("the fourth is let in")
}

/// A process that is there: answers its pings and calls, until another one has taken the device over.
fn is_there(mut agent: Agent) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(frame) = agent.next_frame().await {
            match frame.frame {
                Some(Down::Call(call)) => agent.answer(1, &call, Bytes::from_static(b"here")).await,
                Some(Down::Superseded(_)) => return,
                _ => {}
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn who_has_the_device_keeps_it_while_the_other_waits_for_its_turn() {
    let cluster = Cluster::start(1).await;
    let router = cluster.router(1);
    let holder = is_there(contested(router).await);
    let wait = comes(router, 5, 1).await.err().expect("it is one too many");
    assert!(wait <= Duration::from_secs(2), "{wait:?}");
    let knocks = comes(router, 6, 1).await.err().expect("another one");
    assert!(knocks <= wait);
    assert_eq!(&router.invoke(call_to("d")).await.expect("an answer").payload[..], b"here");
    sleep(wait).await;
    let next = comes(router, 5, 1).await.expect("its turn has come");
    holder.await.expect("the former one is told");
    let holder = is_there(next);
    let longer = comes(router, 7, 1).await.err().expect("a longer turn");
    assert!(longer > Duration::from_secs(2), "{longer:?}");
    holder.abort();
}

#[tokio::test(start_paused = true)]
async fn a_process_that_does_not_answer_keeps_nobody_out() {
    let cluster = Cluster::start(1).await;
    let router = cluster.router(1);
    // Nobody reads what they are sent.
    let mut silent = vec![contested(router).await];
    for instance in 5..9 {
        silent.push(comes(router, instance, 1).await.expect("the former one is dead"));
    }
}

#[tokio::test]
async fn who_was_silent_hears_why_it_has_lost_the_device() {
    let cluster = Cluster::start(2).await;
    let mut asleep = contested(cluster.router(2)).await;
    assert!(comes(cluster.router(1), 5, 1).await.is_ok(), "the one that has it does not answer");
    match asleep.next().await {
        Down::Closed(closed) => {
            assert_eq!(closed.code(), CloseCode::Superseded);
            assert!(closed.message.contains("another agent process"), "{closed:?}");
        }
        other => panic!("expected Closed, got {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_comes_back_by_itself_never_waits() {
    let cluster = Cluster::start(1).await;
    let router = cluster.router(1);
    let mut former = vec![contested(router).await];
    for number in 2..6 {
        former.push(comes(router, 4, number).await.expect("it is the same one"));
    }
}
