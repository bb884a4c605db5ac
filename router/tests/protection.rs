//! Many devices at once: a site that is lost, and devices that all come back together.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod world;

use std::time::Duration;

use bytes::Bytes;
use rollcall_proto::device::{self, CloseCode, attach_request::Frame as Up, attach_response::Frame as Down};
use rollcall_router::{Call, Failure, Outcome, Reason};
use world::{
    Cluster,
    agent::{Agent, attach, profile},
    call, call_to, call_within, wait_until,
};

fn at(site: &str) -> device::Profile {
    device::Profile { labels: [("site".to_owned(), site.to_owned())].into(), ..profile(1) }
}

async fn agent_at(cluster: &Cluster, device: &str, site: &str, number: u64) -> Agent {
    let mut agent = Agent::connect(cluster.router(1)).await;
    let instance = 1 + u64::from(device.bytes().map(u32::from).sum::<u32>());
    agent.attach(1, attach(device, instance, number, at(site))).await;
    agent
}

fn of_site(site: &str) -> Call {
    Call { labels: vec![("site".into(), site.into())], ..call() }
}

async fn failure(cluster: &Cluster, call: Call) -> Failure {
    let within = tokio::time::timeout(Duration::from_millis(500), cluster.router(1).invoke(call)).await;
    within.expect("it is refused at once").expect_err("the call fails")
}

#[tokio::test]
async fn calls_for_a_lost_site_are_shed_at_once_and_pass_as_its_devices_give_signs_of_life() {
    let cluster = Cluster::start(1).await;
    let mut here = Vec::new();
    for number in 0..10 {
        here.push(agent_at(&cluster, &format!("hz-{number}"), "hz1", 1).await);
    }
    agent_at(&cluster, "sh", "sh1", 1).await.echo();
    here.drain(..6).for_each(drop);
    wait_until("six are gone", || cluster.router(1).device_count() == 5).await;

    let mut silent = cluster.router(1).invoke(call_within("hz-9", Duration::from_millis(50))).await;
    for _ in 0..50 {
        if matches!(&silent, Err(failure) if failure.reason == Reason::SiteLost) {
            break;
        }
        silent = cluster.router(1).invoke(call_within("hz-9", Duration::from_millis(50))).await;
    }
    let silent = silent.expect_err("it gives no sign of life");
    assert_eq!((silent.reason, silent.outcome), (Reason::SiteLost, Outcome::NotExecuted));
    assert!(silent.retry_after.is_some_and(|wait| wait >= Duration::from_secs(5)), "{silent:?}");
    assert_eq!(failure(&cluster, call_to("hz-1")).await.reason, Reason::SiteLost, "it is gone with its site");
    let patient = Call { connect_wait: Duration::from_secs(9), ..call_to("hz-1") };
    assert_eq!(failure(&cluster, patient).await.reason, Reason::SiteLost, "nobody waits for a lost site");
    assert_eq!(failure(&cluster, of_site("hz1")).await.reason, Reason::SiteLost);
    for _ in 0..20 {
        let reply = cluster.router(1).invoke(call()).await.expect("the other site goes on");
        assert_eq!(reply.device_id, "sh");
    }

    // The ping that the loss has caused is answered as soon as the agent reads.
    let alive = here.remove(0);
    alive.echo();
    let answered = async || cluster.router(1).invoke(call_to("hz-6")).await;
    tokio::time::timeout(Duration::from_secs(5), async {
        while answered().await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("a device that gives a sign of life is called again");
    let reply = cluster.router(1).invoke(of_site("hz1")).await.expect("and so is its site");
    assert_eq!(reply.device_id, "hz-6");
    assert_eq!(failure(&cluster, call_to("hz-7")).await.reason, Reason::SiteLost, "it is still silent");

    for number in 0..6 {
        agent_at(&cluster, &format!("hz-{number}"), "hz1", 2).await.echo();
    }
    assert!(cluster.router(1).invoke(call_to("hz-1")).await.is_ok());
}

#[tokio::test]
async fn devices_that_leave_one_after_the_other_take_nobody_along() {
    let cluster = Cluster::start(1).await;
    let mut here = Vec::new();
    for number in 0..10 {
        here.push(agent_at(&cluster, &format!("hz-{number}"), "hz1", 1).await);
    }
    for mut agent in here.drain(..8) {
        let _ = agent.say(1, Up::Detach(device::Detach::default())).await;
    }
    wait_until("eight are gone", || cluster.router(1).device_count() == 2).await;
    assert_eq!(failure(&cluster, call_to("hz-1")).await.reason, Reason::NotConnected);
    here.into_iter().for_each(|agent| drop(agent.echo()));
    assert!(cluster.router(1).invoke(call_to("hz-9")).await.is_ok());
}

async fn attempt(
    cluster: &Cluster,
    device: &str,
    attach: device::Attach,
) -> Result<Agent, device::AttachRefused> {
    let mut agent = Agent::connect(cluster.router(1)).await;
    let _ = agent.say(1, Up::Attach(attach)).await;
    match agent.next().await {
        Down::Attached(_) => Ok(agent),
        Down::AttachRefused(refused) => Err(refused),
        other => panic!("{device}: neither attached nor refused, but {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn devices_that_come_back_together_are_spread_and_those_with_unfinished_calls_go_first() {
    let cluster = Cluster::with(1, |config| config.connects_per_second = 10).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (mut attached, mut waits) = (Vec::new(), Vec::new());
    for number in 0..60 {
        let device = format!("d-{number}");
        match attempt(&cluster, &device, attach(&device, 1_000 + number, 1, profile(1))).await {
            Ok(agent) => attached.push(agent),
            Err(refused) => {
                assert_eq!(refused.code(), CloseCode::Overloaded);
                waits.push(Duration::try_from(refused.retry_after.expect("advice")).expect("a duration"));
            }
        }
    }
    assert!((10..=20).contains(&attached.len()), "{} were let in at once", attached.len());
    assert!(waits.windows(2).all(|pair| pair[1] > pair[0]), "each has a time of its own: {waits:?}");
    assert!(waits.last().is_some_and(|last| *last >= Duration::from_secs(3)), "{waits:?}");

    let unfinished = device::Attach {
        running: vec![Bytes::from_static(b"a call of before")],
        ..attach("busy", 7, 1, profile(1))
    };
    attempt(&cluster, "busy", unfinished).await.map(drop).expect("it has unfinished calls");

    let last = waits.last().copied().unwrap_or_default();
    tokio::time::sleep(last).await;
    attempt(&cluster, "d-59", attach("d-59", 1_059, 2, profile(1))).await.map(drop).expect("it came as told");
}
