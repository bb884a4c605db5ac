//! Logs that are given up under load: they take no more room, however the other nodes are, and whoever lacks them catches up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cluster;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cluster::{Line, Node, Place, cluster, device, open_session, places, start, stop_all, take, wait_until};
use rollcall_registry::{Registrar, Registry, model::ids::LogIndex};
use tokio::task::JoinHandle;

/// Opens and closes of sessions, from several devices at once, until it is told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<u64>>,
}

impl Load {
    fn on(registry: &Registry) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let churns = (0..8).map(|number| churn(registry.clone(), number, Arc::clone(&stop)));
        Self { tasks: churns.map(tokio::spawn).collect(), stop }
    }

    /// How many changes there were.
    async fn ends(mut self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        let mut changes = 0;
        for task in std::mem::take(&mut self.tasks) {
            changes += task.await.unwrap();
        }
        changes
    }
}

impl Drop for Load {
    /// A test that fails does not wait for its load.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

async fn churn(registry: Registry, number: u64, stop: Arc<AtomicBool>) -> u64 {
    let mut changes = 0;
    while !stop.load(Ordering::SeqCst) {
        let phone = device(&format!("churned-{number}-{}", changes % 50));
        match registry.open(phone.clone(), open_session(changes + 1)).await {
            Ok(opened) => {
                registry.close(phone, opened.epoch);
                changes += 1;
            }
            // Refused at once, it would try thousands of times a second.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    changes
}

fn bytes_on_disk(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    // What is there a moment ago may be gone: snapshots replace each other.
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_on_disk(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

fn snapshots(place: &Place) -> usize {
    std::fs::read_dir(place.dir.join("snapshots")).unwrap().count()
}

/// Lets each of these nodes apply so many entries more, and give its log up.
async fn grow_and_compact(nodes: &[Node], entries: u64) {
    let grown = LogIndex(nodes[0].registry.routes().applied_index().0 + entries);
    for node in nodes {
        node.has(grown).await;
        assert!(node.compacts().await >= grown);
    }
}

async fn all_hold_the_same(nodes: &[Node]) {
    let last = nodes[0].registry.open(device("last"), open_session(1)).await.unwrap();
    for node in nodes {
        node.has(last.index).await;
        assert_eq!(node.holder(&device("last")), Some((nodes[0].id(), last.epoch)));
    }
    // The last closes of the load may come after it.
    let counts = |node: &Node| node.registry.routes().counts();
    wait_until("all hold the same", || nodes.iter().all(|node| counts(node) == counts(&nodes[0]))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_and_a_node_that_was_away_catch_up_under_load_from_a_purged_log() {
    let root = tempfile::tempdir().unwrap();
    let founders = places(root.path(), &["n1", "n2", "n3"]);
    let mut nodes = cluster(&founders).await;
    let away = nodes.pop().unwrap();
    let (away_id, left_at) = (away.id(), away.registry.routes().applied_index());
    away.stop().await;
    let load = Load::on(&nodes[0].registry);
    let mut sizes = Vec::new();
    for _ in 0..3 {
        grow_and_compact(&nodes, 200).await;
        sizes.push(bytes_on_disk(&founders[0].dir));
    }
    assert!(sizes[2] <= sizes[0] * 2 + 4 * 1024 * 1024, "with a voter down the log grows: {sizes:?}");

    let newcomer = start(&places(root.path(), &["n4"])[0], &founders, 0).await;
    let back = start(&founders[2], &founders, 3).await;
    for mut node in [newcomer, back] {
        node.joined().await;
        assert!(node.got_a_snapshot_beyond(left_at), "it got the log, so no snapshot was needed");
        nodes.push(node);
    }
    assert_eq!(nodes[3].id(), away_id);
    assert!(load.ends().await > 100, "there was hardly any load");
    all_hold_the_same(&nodes).await;
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_takes_the_log_too_slowly_does_not_keep_it_and_gets_the_snapshot() {
    let root = tempfile::tempdir().unwrap();
    let mut founders = places(root.path(), &["n1", "n2", "n3"]);
    let mut lines = Vec::new();
    for place in &mut founders {
        lines.push(Line::before(place).await);
    }
    let mut nodes = cluster(&founders).await;
    let slow = take(&mut nodes, false).await;
    let thin = founders.iter().position(|place| place.name == slow.registry.status().name).unwrap();
    lines[thin].thin();
    let load = Load::on(&nodes[0].registry);
    let had = slow.registry.routes().applied_index();
    grow_and_compact(&nodes, 400).await;
    let lags = nodes[0].registry.routes().applied_index().0 - slow.registry.routes().applied_index().0;
    assert!(lags > 100, "it lags {lags} entries, so it was not slow");

    lines[thin].thick();
    assert!(load.ends().await > 100, "there was hardly any load");
    nodes.push(slow);
    all_hold_the_same(&nodes).await;
    assert!(nodes[2].got_a_snapshot_beyond(had), "it got the log, so the log was kept for it");
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_purged_again_and_again_takes_no_more_room() {
    let root = tempfile::tempdir().unwrap();
    let place = &places(root.path(), &["n1"])[0];
    let nodes = cluster(std::slice::from_ref(place)).await;
    let load = Load::on(&nodes[0].registry);
    let mut sizes = Vec::new();
    for _ in 0..6 {
        grow_and_compact(&nodes, 400).await;
        sizes.push(bytes_on_disk(&place.dir));
    }
    load.ends().await;
    // A file system that grew with the log would be six times larger in the end.
    assert!(sizes[5] <= sizes[0] * 2 + 4 * 1024 * 1024, "{sizes:?}");
    assert_eq!(snapshots(place), 1, "older snapshots stay");
    stop_all(nodes).await;
}
