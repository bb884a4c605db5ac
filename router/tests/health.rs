//! Devices whose handlers hang, and devices that are only slow: who is kept out, and who comes back.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod world;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use rollcall_proto::device::{
    self, RefusedReason, attach_request::Frame as Up, attach_response::Frame as Down,
};
use rollcall_router::{Call, Failure, Outcome, Reason, Reply};
use world::{Cluster, agent::Agent, call, call_within};

/// What the handlers of a device do.
#[derive(Default)]
struct Handlers {
    /// They answer calls; otherwise calls take for ever, and stop when they are cancelled.
    quick: AtomicBool,
    /// They hang: nothing is answered, nothing stops.
    frozen: AtomicBool,
    /// The agent knows no health action.
    old: AtomicBool,
    health_calls: AtomicU32,
}

impl Handlers {
    /// Lets a device's agent do what these handlers do.
    fn run(self: &Arc<Self>, mut agent: Agent) {
        let me = Arc::clone(self);
        tokio::spawn(async move {
            let mut owed = Vec::new();
            while let Some(frame) = agent.next_frame().await {
                match frame.frame {
                    Some(Down::Call(call)) => me.call(&mut agent, frame.slot, &call).await,
                    Some(Down::Cancel(cancel)) => owed.push(cancel.tag),
                    _ => {}
                }
                if !me.frozen.load(SeqCst) {
                    for tag in owed.drain(..) {
                        let stopped = device::Cancelled { tag, executed: true, ..Default::default() };
                        let _ = agent.say(frame.slot, Up::Cancelled(stopped)).await;
                    }
                }
            }
        });
    }

    async fn call(&self, agent: &mut Agent, slot: u32, call: &device::Call) {
        let health = call.action == "rollcall.health";
        self.health_calls.fetch_add(u32::from(health), SeqCst);
        if health && self.old.load(SeqCst) {
            let reason = RefusedReason::ActionUnknown.into();
            let refused = device::Refused { tag: call.tag, reason, ..Default::default() };
            let _ = agent.say(slot, Up::Refused(refused)).await;
        } else if !self.frozen.load(SeqCst) && (health || self.quick.load(SeqCst)) {
            agent.answer(slot, call, Bytes::from_static(b"done")).await;
        }
    }
}

async fn device(cluster: &Cluster, name: &str, capacity: u32) -> Arc<Handlers> {
    let handlers = Arc::new(Handlers::default());
    handlers.run(Agent::attached(cluster.router(1), name, capacity).await);
    handlers
}

async fn one_second(cluster: &Cluster) -> Result<Reply, Failure> {
    cluster.router(1).invoke(call_within("d", Duration::from_secs(1))).await
}

/// Calls until the device is kept out.
async fn ejected(cluster: &Cluster) -> Failure {
    for _ in 0..60 {
        match one_second(cluster).await.expect_err("the handlers hang") {
            failure if failure.reason == Reason::DeviceEjected => return failure,
            failure => {
                assert!([Reason::Deadline, Reason::QueueFull].contains(&failure.reason), "{failure:?}")
            }
        }
    }
    panic!("it is never ejected");
}

#[tokio::test(start_paused = true)]
async fn twenty_second_calls_under_one_second_deadlines_never_eject() {
    let cluster = Cluster::start(1).await;
    let handlers = device(&cluster, "d", 2).await;
    for _ in 0..40 {
        let failure = one_second(&cluster).await.expect_err("the call takes too long");
        assert_eq!((failure.reason, failure.outcome), (Reason::Deadline, Outcome::Unknown));
    }
    assert!(handlers.health_calls.load(SeqCst) >= 2, "timeouts are looked into");
    handlers.quick.store(true, SeqCst);
    assert!(one_second(&cluster).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn frozen_handlers_eject_and_are_let_back_when_they_thaw() {
    let cluster = Cluster::start(1).await;
    let handlers = device(&cluster, "d", 4).await;
    handlers.frozen.store(true, SeqCst);
    let failure = ejected(&cluster).await;
    assert_eq!(failure.outcome, Outcome::NotExecuted);
    assert!(failure.retry_after.is_some() && failure.device_id.as_deref() == Some("d"), "{failure:?}");
    let anyone = cluster.router(1).invoke(call()).await.expect_err("nobody else is there");
    assert_eq!((anyone.reason, anyone.outcome), (Reason::DeviceEjected, Outcome::NotExecuted));

    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(one_second(&cluster).await.expect_err("it is kept out").reason, Reason::DeviceEjected);
    let asked = handlers.health_calls.load(SeqCst);
    assert!((4..12).contains(&asked), "{asked} health calls in a minute: less and less often");

    handlers.quick.store(true, SeqCst);
    handlers.frozen.store(false, SeqCst);
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert!(one_second(&cluster).await.is_ok(), "it is let back");
}

#[tokio::test(start_paused = true)]
async fn a_group_goes_on_without_its_ejected_device() {
    let cluster = Cluster::start(1).await;
    let frozen = device(&cluster, "d", 4).await;
    frozen.frozen.store(true, SeqCst);
    ejected(&cluster).await;
    let well = device(&cluster, "e", 1).await;
    well.quick.store(true, SeqCst);
    for _ in 0..20 {
        let reply = cluster.router(1).invoke(call()).await.expect("the other one answers");
        assert_eq!(reply.device_id, "e");
    }
    let key = |number: u32| Call { affinity_key: Some(format!("key-{number}")), ..call() };
    for number in 0..20 {
        let reply =
            cluster.router(1).invoke(key(number)).await.expect("the next one in the key's order answers");
        assert_eq!(reply.device_id, "e");
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_without_the_health_action_is_never_ejected() {
    let cluster = Cluster::start(1).await;
    let handlers = device(&cluster, "d", 8).await;
    handlers.old.store(true, SeqCst);
    for _ in 0..20 {
        assert_eq!(one_second(&cluster).await.expect_err("it hangs").reason, Reason::Deadline);
    }
    assert_eq!(handlers.health_calls.load(SeqCst), 1, "it is asked once");
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_never_given_back_makes_suspect() {
    let cluster = Cluster::start(1).await;
    let handlers = device(&cluster, "d", 2).await;
    handlers.frozen.store(true, SeqCst);
    assert_eq!(one_second(&cluster).await.expect_err("it hangs").reason, Reason::Deadline);
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(
        handlers.health_calls.load(SeqCst).min(1),
        1,
        "one timeout is enough if the place stays taken"
    );
    assert_eq!(one_second(&cluster).await.expect_err("it is kept out").reason, Reason::DeviceEjected);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_comes_back_is_given_a_rising_share_and_not_the_whole_backlog() {
    let cluster = Cluster::start(1).await;
    let gone = Agent::attached(cluster.router(1), "d", 20).await;
    drop(gone);
    world::wait_until("it is gone", || cluster.router(1).device_count() == 0).await;
    let handlers = Arc::new(Handlers::default());
    let mut agent = Agent::connect(cluster.router(1)).await;
    let attach = world::agent::attach("d", 77, 1, world::agent::profile(20));
    agent.attach(1, attach).await;
    handlers.run(agent);
    let burst = || async {
        let calls = (0..60).map(|_| one_second(&cluster));
        let ended = futures::future::join_all(calls).await;
        ended.into_iter().filter(|ended| matches!(ended, Err(f) if f.outcome == Outcome::Unknown)).count()
    };
    let first = burst().await;
    assert_eq!(first, 2, "a tenth of its capacity runs at once");
    tokio::time::sleep(Duration::from_secs(4)).await;
    let second = burst().await;
    assert!((8..16).contains(&second), "{second} of 20 after five seconds");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(burst().await, 20);
}
