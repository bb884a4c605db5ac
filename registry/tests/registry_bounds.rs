//! What a node keeps on disk is bounded: by bytes when entries are large, and by what there is when devices come only once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cluster;

use std::{path::Path, sync::Arc, time::Duration};

use cluster::{Node, Place, device, open_session, places, start, wait_until};
use futures::{StreamExt, TryStreamExt, stream};
use rollcall_registry::{
    Administration, LogBounds, Registrar,
    model::{
        command::{OpenSession, SetPolicy},
        profile::Profile,
    },
};

const MIB: u64 = 1024 * 1024;
/// Bytes are counted to the next mark, at each end.
const MARKS: u64 = 2 * MIB;
/// What sled may take more for the same content from one time to the other: it writes whole segments, and gives none back.
const SEGMENTS: u64 = 4 * MIB;
/// How many times its content sled may have on disk while all of it is replaced again and again.
const TIMES_CONTENT: u64 = 6;

/// A session whose profile takes so many bytes, unlike all others.
fn large_session(attach_number: u64, bytes: usize) -> OpenSession {
    let (serial, ballast) = (attach_number.to_string(), "x".repeat(bytes));
    let labels = [("serial", serial.as_str()), ("ballast", ballast.as_str())];
    let profile = Profile::new(["sign"], labels, ["echo"], 4);
    OpenSession { profile: Arc::new(profile), ..open_session(attach_number) }
}

async fn alone(place: &Place) -> Node {
    let mut node = start(place, std::slice::from_ref(place), 1).await;
    node.joined().await;
    node
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    // What was there a moment ago may be gone.
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_in(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_few_large_entries_stays_within_its_bytes() {
    let root = tempfile::tempdir().unwrap();
    let bounds = LogBounds { snapshot_every_bytes: 4 * MIB, keep_bytes: 2 * MIB };
    let place = Place { log_bounds: bounds, ..places(root.path(), &["n1"]).remove(0) };
    let node = alone(&place).await;
    let most = bounds.snapshot_every_bytes + bounds.keep_bytes + MARKS;
    let mut number = 0;
    // Ten times as much as may stay, in far fewer entries than those after which a snapshot is built anyway.
    for _ in 0..40 {
        for _ in 0..20 {
            number += 1;
            let phone = device(&format!("phone-{}", number % 4));
            node.registry.open(phone, large_session(number, 100_000)).await.unwrap();
        }
        wait_until("the log is within its bytes", || node.registry.status().log_bytes <= most).await;
    }
    wait_until("the disk is, too", || bytes_in(&place.dir) <= most * TIMES_CONTENT).await;
    node.stop().await;
}

/// Devices that nobody has seen before come and go, and their records expire.
async fn wave(node: &Node, wave: u64) {
    const DEVICES: u64 = 3_000;
    let sessions = stream::iter(0..DEVICES).map(|number| async move {
        let phone = device(&format!("phone-{wave}-{number}"));
        let opened =
            node.registry.open(phone.clone(), large_session(wave * DEVICES + number + 1, 600)).await?;
        node.registry.disconnect(phone, opened.epoch).await
    });
    sessions.buffer_unordered(500).try_for_each(|_| async { Ok(()) }).await.unwrap();
    wait_until("their records have expired", || node.registry.routes().counts().devices == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_that_come_only_once_leave_disk_and_snapshots_as_they_were() {
    let root = tempfile::tempdir().unwrap();
    let place = places(root.path(), &["n1"]).remove(0);
    let node = alone(&place).await;
    let policy = SetPolicy { record_ttl: Some(Duration::from_secs(1)), ..SetPolicy::default() };
    node.registry.administer(Administration::SetPolicy(policy)).await.unwrap();
    let mut after = Vec::new();
    for number in 1..=5 {
        wave(&node, number).await;
        node.compacts().await;
        let disk_grew = |most: u64| bytes_in(&place.dir) > most;
        if let Some((_, disk)) = after.first() {
            wait_until("the disk is as it was", || !disk_grew(disk + SEGMENTS)).await;
        }
        after.push((bytes_in(&place.dir.join("snapshots")), bytes_in(&place.dir)));
    }
    // Indexes and epochs grow by a byte now and then.
    let (snapshot, _) = after[0];
    assert!(after.iter().all(|(bytes, _)| bytes.abs_diff(snapshot) <= 32), "{after:?}");
    node.stop().await;
}
