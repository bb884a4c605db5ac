//! Clusters whose nodes vanish, freeze and leave: leases, registration, commits through a change of leader.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cluster;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cluster::{cluster, device, open_session, places, stop_all, take, wait_until};
use rollcall_registry::{
    Registrar, Registry, Watch,
    model::{event::Event, ids::Epoch, ids::LogIndex},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_vanishes_is_reported_down_and_its_sessions_are_void() {
    let root = tempfile::tempdir().unwrap();
    let mut nodes = cluster(&places(root.path(), &["n1", "n2", "n3"])).await;
    let victim = take(&mut nodes, false).await;
    let (id, phone) = (victim.id(), device("phone"));
    let opened = victim.registry.open(phone.clone(), open_session(1)).await.unwrap();
    for node in &nodes {
        node.has(opened.index).await;
        assert_eq!(node.holder(&phone), Some((id, opened.epoch)));
    }

    victim.vanish();
    for node in &nodes {
        wait_until("the node is reported down", || !node.sees_up(id)).await;
        assert_eq!(node.holder(&phone), None, "a session outlived its holder");
    }
    let again = nodes[0].registry.open(phone.clone(), open_session(2)).await.unwrap();
    assert!(again.epoch > opened.epoch);
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lapse_makes_a_node_fence_itself_and_register_again() {
    let root = tempfile::tempdir().unwrap();
    let mut nodes = cluster(&places(root.path(), &["n1", "n2", "n3"])).await;
    let frozen = take(&mut nodes, false).await;
    let (id, before) = (frozen.id(), frozen.registry.incarnation());

    let thaw = frozen.freeze();
    wait_until("the frozen node is reported down", || !nodes[0].sees_up(id)).await;
    assert!(!frozen.registry.lease_held(), "it was reported down while its lease held");
    drop(thaw);
    wait_until("it is up again", || nodes[0].sees_up(id)).await;
    wait_until("it holds a lease again", || frozen.registry.lease_held()).await;
    assert!(frozen.registry.incarnation() > before);
    let phone = device("phone");
    let opened = frozen.registry.open(phone.clone(), open_session(1)).await.unwrap();
    nodes[0].has(opened.index).await;
    assert_eq!(nodes[0].holder(&phone), Some((id, opened.epoch)));
    nodes.push(frozen);
    stop_all(nodes).await;
}

/// Opens one device after the other until told to stop; what was acknowledged.
async fn keep_opening(registry: Registry, stop: Arc<AtomicBool>) -> BTreeMap<String, Epoch> {
    let mut acknowledged = BTreeMap::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let name = format!("phone-{}-{number}", registry.node());
        if let Ok(opened) = registry.open(device(&name), open_session(1)).await {
            acknowledged.insert(name, opened.epoch);
        }
    }
    acknowledged
}

/// All opens of a watch up to an index, by device; fails where one comes twice.
async fn opens_until(watch: &mut Watch, end: LogIndex) -> BTreeMap<String, Epoch> {
    let mut seen = BTreeMap::new();
    loop {
        let next = tokio::time::timeout(Duration::from_secs(5), watch.next()).await;
        let item = next.expect("the watch is silent").unwrap();
        if let Event::Opened { device, session, .. } = item.event {
            let twice = seen.insert(device.device.to_string(), session.epoch);
            assert_eq!(twice, None, "{device} was opened twice");
        }
        if item.cursor.index >= end {
            return seen;
        }
    }
}

async fn goes_on_without_its_leader(vanishes: bool) {
    let root = tempfile::tempdir().unwrap();
    let mut nodes = cluster(&places(root.path(), &["n1", "n2", "n3"])).await;
    let leader = take(&mut nodes, true).await;
    let mut watch = nodes[0].registry.watch(None).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let opening: Vec<_> = nodes
        .iter()
        .map(|node| tokio::spawn(keep_opening(node.registry.clone(), Arc::clone(&stop))))
        .collect();
    let opened = |node: &cluster::Node| node.registry.routes().sessions_of(nodes[1].id());
    wait_until("opens are under way", || opened(&nodes[0]) > 50).await;

    let old = leader.id();
    if vanishes {
        leader.vanish();
    } else {
        leader.stop().await;
    }
    let leads_anew = || nodes[0].registry.status().leader.is_some_and(|leader| leader != old);
    wait_until("another node leads", leads_anew).await;
    let before = opened(&nodes[0]);
    wait_until("commits go on", || opened(&nodes[0]) > before + 50).await;
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = BTreeMap::new();
    for opening in opening {
        acknowledged.append(&mut opening.await.unwrap());
    }

    let last = nodes[1].registry.open(device("last"), open_session(1)).await.unwrap();
    let seen = opens_until(&mut watch, last.index).await;
    for node in &nodes {
        node.has(last.index).await;
        for (name, epoch) in &acknowledged {
            assert_eq!(node.holder(&device(name)).map(|(_, epoch)| epoch), Some(*epoch), "{name} is lost");
            assert_eq!(seen.get(name), Some(epoch), "{name} is missing in the watch");
        }
    }
    let epochs: BTreeSet<_> = seen.values().collect();
    assert_eq!(epochs.len(), seen.len(), "an epoch was given twice");
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_go_on_when_the_leader_leaves_and_no_open_is_lost_or_doubled() {
    goes_on_without_its_leader(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_go_on_when_the_leader_vanishes_and_no_open_is_lost_or_doubled() {
    goes_on_without_its_leader(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_quorum_fences_itself_and_still_stops() {
    let root = tempfile::tempdir().unwrap();
    let mut nodes = cluster(&places(root.path(), &["n1", "n2", "n3"])).await;
    let last = take(&mut nodes, true).await;
    nodes.into_iter().for_each(cluster::Node::vanish);

    wait_until("its lease lapses", || !last.registry.lease_held()).await;
    assert!(!last.registry.status().has_quorum);
    let stopped = tokio::time::timeout(Duration::from_secs(10), last.stop()).await;
    assert!(stopped.is_ok(), "it does not stop without a quorum");
}
