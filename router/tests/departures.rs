//! Devices that are asked to move: spread over a time, without a gap, and how long a drain waits for them.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod world;

use std::time::Duration;

use rollcall_proto::device::{CloseCode, GoAway, attach_response::Frame as Down};
use rollcall_router::Departing;
use tokio::time::{Instant, timeout};
use world::{
    Cluster,
    agent::{Agent, attach, profile},
    wait_until,
};

async fn asked(agent: &mut Agent) -> GoAway {
    match agent.next().await {
        Down::GoAway(go_away) => go_away,
        other => panic!("expected GoAway, got {other:?}"),
    }
}

fn wait_of(go_away: &GoAway) -> Duration {
    go_away.reconnect_after.and_then(|wait| wait.try_into().ok()).unwrap_or_default()
}

#[tokio::test]
async fn each_device_of_a_node_that_drains_is_given_a_time_of_its_own() {
    let cluster = Cluster::with(2, |config| config.connects_per_second = 20).await;
    let mut agents = Vec::new();
    for device in 0..20 {
        agents.push(Agent::attached(cluster.router(1), &format!("d{device}"), 1).await);
    }
    let router = cluster.router(1).clone();
    let drained = tokio::spawn(async move { router.drain(Duration::from_secs(60)).await });
    let mut waits = Vec::new();
    for agent in &mut agents {
        let go_away = asked(agent).await;
        assert_eq!(go_away.code(), CloseCode::GoingAway);
        waits.push(wait_of(&go_away));
    }
    waits.sort_unstable();
    for (turn, wait) in waits.iter().enumerate() {
        let begins = Duration::from_millis(50) * turn as u32;
        assert!(*wait >= begins && *wait <= begins + Duration::from_millis(50), "{turn}: {waits:?}");
    }
    // They have gone elsewhere.
    agents.into_iter().for_each(Agent::finish);
    drained.await.expect("the drain ends");
}

#[tokio::test]
async fn a_drain_leaves_those_alone_whose_time_has_not_come() {
    let cluster = Cluster::with(1, |config| config.connects_per_second = 3).await;
    let mut agents = Vec::new();
    for device in 0..3 {
        agents.push(Agent::attached(cluster.router(1), &format!("d{device}"), 1).await);
    }
    let (router, began) = (cluster.router(1).clone(), Instant::now());
    let drained = tokio::spawn(async move { router.drain(Duration::from_secs(60)).await });
    for agent in &mut agents {
        let wait = wait_of(&asked(agent).await);
        while agent.next_frame().await.is_some() {}
        assert!(began.elapsed() > wait, "cut after {:?}, asked to go after {wait:?}", began.elapsed());
    }
    drained.await.expect("the drain ends");
}

#[tokio::test]
async fn time_that_is_short_is_shared() {
    let cluster = Cluster::with(1, |config| config.connects_per_second = 8).await;
    let mut agents = Vec::new();
    for device in 0..8 {
        agents.push(Agent::attached(cluster.router(1), &format!("d{device}"), 1).await);
    }
    let within = Duration::from_millis(500);
    assert_eq!(cluster.router(1).send_away(8, within), Departing { devices: 8, over: within });
    for agent in &mut agents {
        let wait = wait_of(&asked(agent).await);
        assert!(wait <= within, "{wait:?}");
    }
}

#[tokio::test]
async fn as_many_as_wanted_are_sent_away_and_none_of_them_twice() {
    let cluster = Cluster::start(2).await;
    // A connection goes with all of its devices.
    let mut site = Agent::connect(cluster.router(1)).await;
    for slot in 1..=3 {
        site.attach(slot, attach(&format!("s{slot}"), 5, 1, profile(1))).await;
    }
    let mut alone = Agent::attached(cluster.router(1), "alone", 1).await;
    let idle = Agent::connect(cluster.router(1)).await;
    let minute = Duration::from_secs(60);
    let first = cluster.router(1).send_away(1, minute).devices;
    assert!(first == 1 || first == 3, "{first}");
    assert_eq!(cluster.router(1).send_away(100, minute).devices, 4 - first, "the others");
    assert_eq!(cluster.router(1).send_away(100, minute).devices, 0);
    for agent in [&mut site, &mut alone] {
        asked(agent).await;
        assert!(agent.hears_nothing().await, "once");
    }
    // It stays: calls go on until the device has left by itself.
    assert_eq!(cluster.router(1).device_count(), 4);
    drop(idle);
}

#[tokio::test]
async fn a_node_that_has_slept_reads_before_it_judges() {
    let heartbeat = Duration::from_millis(400);
    let cluster = Cluster::with(1, |config| {
        config.heartbeat_interval = heartbeat;
        config.resume_window = Duration::from_secs(5);
    })
    .await;
    let mut agent = Agent::attached(cluster.router(1), "d", 1).await;
    // The only thread of this runtime: nothing of the node runs meanwhile.
    std::thread::sleep(heartbeat * 3);
    // The sweep comes first, and what the agent has said all the while is read only then.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    agent.answers_pings = false;
    match agent.next_frame().await.and_then(|frame| frame.frame) {
        Some(Down::Ping(_)) => {}
        None => panic!("the connection was cut"),
        Some(other) => panic!("expected Ping, got {other:?}"),
    }
}

#[tokio::test]
async fn a_device_that_is_silent_is_cut_by_a_node_that_was_awake() {
    let heartbeat = Duration::from_millis(400);
    let cluster = Cluster::with(1, |config| config.heartbeat_interval = heartbeat).await;
    let mut agent = Agent::attached(cluster.router(1), "d", 1).await;
    agent.answers_pings = false;
    let cut = async {
        while let Some(frame) = agent.next_frame().await {
            if let Some(Down::GoAway(go_away)) = frame.frame {
                assert_eq!(go_away.code(), CloseCode::Heartbeat);
            }
        }
    };
    timeout(Duration::from_secs(30), cut).await.expect("it is cut");
    wait_until("the session waits", || cluster.router(1).device_count() == 0).await;
}
