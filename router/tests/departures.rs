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
    let (router, grace) = (cluster.router(1).clone(), Duration::from_secs(1));
    let drained = tokio::spawn(async move { router.drain(grace).await });
    for agent in &mut agents {
        let wait = wait_of(&asked(agent).await);
        assert!(wait <= grace / 2, "{wait:?}");
    }
    drained.await.expect("the drain ends");
}

#[tokio::test]
async fn a_surplus_is_asked_to_move_at_a_rate_and_nobody_twice() {
    let cluster = Cluster::start(2).await;
    let mut agents = Vec::new();
    for device in 0..8 {
        agents.push(Agent::attached(cluster.router(1), &format!("d{device}"), 1).await);
    }
    wait_until("all are counted", || cluster.router(1).balance().held == 8).await;
    let balance = cluster.router(1).balance();
    assert_eq!((balance.share, balance.surplus()), (4, 4));
    assert_eq!(cluster.router(2).balance().surplus(), 0);
    let asked_to_move = Departing { devices: 4, over: Duration::from_secs(2) };
    assert_eq!(cluster.router(1).rebalance(2), asked_to_move);
    let mut waits = Vec::new();
    for agent in &mut agents {
        // Whoever is asked has it waiting already.
        if let Ok(go_away) = timeout(Duration::from_millis(50), asked(agent)).await {
            waits.push(wait_of(&go_away));
        }
    }
    waits.sort_unstable();
    assert_eq!(waits.len(), 4, "{waits:?}");
    assert!(
        waits.iter().zip(1..).all(|(wait, turn)| *wait <= Duration::from_millis(500) * turn),
        "{waits:?}"
    );
    // They stay until they have gone by themselves, and are counted; but nobody is asked twice.
    assert_eq!(cluster.router(1).device_count(), 8);
    assert_eq!(cluster.router(1).rebalance(2).devices, 4, "the others, while nobody has gone");
    assert_eq!(cluster.router(1).rebalance(2).devices, 0);
}

#[tokio::test]
async fn a_connection_with_more_devices_than_are_to_go_stays() {
    let cluster = Cluster::start(2).await;
    let mut site = Agent::connect(cluster.router(1)).await;
    for slot in 1..=6 {
        site.attach(slot, attach(&format!("s{slot}"), 5, 1, profile(1))).await;
    }
    let mut alone = Agent::attached(cluster.router(1), "alone", 1).await;
    wait_until("all are counted", || cluster.router(1).balance().held == 7).await;
    assert_eq!(cluster.router(1).balance().surplus(), 3);
    assert_eq!(cluster.router(1).rebalance(1_000).devices, 1);
    asked(&mut alone).await;
    assert!(site.hears_nothing().await);
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
