//! Calls that meet a device on its way to another node: refused by its agent, not lost, and not the caller's affair.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod world;

use std::future::poll_fn;

use bytes::Bytes;
use rollcall_proto::device::{self, RefusedReason, attach_request::Frame as Up};
use rollcall_router::{Failure, Outcome, Reason, Reply};
use tokio::task::JoinHandle;
use world::{
    Cluster,
    agent::{Agent, attach, profile},
    call,
};

/// A group's only device, attached on the first node and then on the second, of which the first has not heard yet.
struct Moving {
    cluster: Cluster,
    old: Agent,
    new: Agent,
}

impl Moving {
    async fn begin() -> Self {
        let cluster = Cluster::start(2).await;
        let mut old = Agent::connect(cluster.router(1)).await;
        old.attach(1, attach("d", 7, 1, profile(4))).await;
        cluster.log.hold_back(0);
        let mut new = Agent::connect(cluster.router(2)).await;
        new.attach(1, attach("d", 7, 2, profile(4))).await;
        Self { cluster, old, new }
    }

    /// The old session's call is refused, as an agent refuses calls of an older epoch than its newest.
    async fn refuse(&mut self) {
        let call = self.old.next_call().await;
        let reason = RefusedReason::StaleEpoch.into();
        let _ = self
            .old
            .say(1, Up::Refused(device::Refused { tag: call.tag, reason, ..Default::default() }))
            .await;
    }

    /// The first node hears of the move, after the call has been refused.
    async fn hear(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        self.cluster.log.catch_up(0);
    }

    /// The new session has the call, and answers it.
    async fn answer(&mut self) {
        let call = self.new.next_call().await;
        self.new.answer(1, &call, Bytes::from_static(b"there")).await;
    }
}

async fn ended(call: JoinHandle<Result<Reply, Failure>>) -> Result<Reply, Failure> {
    call.await.expect("no panic")
}

#[tokio::test]
async fn a_groups_call_follows_its_only_device() {
    let mut moving = Moving::begin().await;
    let router = moving.cluster.router(1).clone();
    let waiting = tokio::spawn(async move { router.invoke(call()).await });
    moving.refuse().await;
    moving.hear().await;
    moving.answer().await;
    let reply = ended(waiting).await.expect("the call succeeds");
    assert_eq!((&reply.payload[..], reply.node.as_str()), (&b"there"[..], "n2"));
}

#[tokio::test]
async fn a_streams_call_follows_it_as_well() {
    let mut moving = Moving::begin().await;
    let mut pipeline = moving.cluster.router(1).pipeline();
    pipeline.start(1, call());
    let followed = async {
        moving.refuse().await;
        moving.hear().await;
        moving.answer().await;
    };
    let ((), ended) = tokio::join!(followed, poll_fn(|cx| pipeline.poll_ended(cx)));
    let reply = ended.result.expect("the call succeeds");
    assert_eq!((&reply.payload[..], reply.node.as_str()), (&b"there"[..], "n2"));
}

#[tokio::test]
async fn a_move_of_which_a_node_never_hears_ends_the_call_unexecuted() {
    let mut moving = Moving::begin().await;
    let router = moving.cluster.router(1).clone();
    let waiting = tokio::spawn(async move { router.invoke(call()).await });
    let refusing = tokio::spawn(async move {
        loop {
            moving.refuse().await;
        }
    });
    let failure = ended(waiting).await.expect_err("the first node knows of no other way");
    assert_eq!((failure.reason, failure.outcome), (Reason::StaleRoute, Outcome::NotExecuted));
    refusing.abort();
}
