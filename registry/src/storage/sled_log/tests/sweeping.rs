//! Purged entries are gone at once; their chunks go bit by bit, and hold up nobody.

use std::time::Duration;

use super::fixture::*;
use crate::{
    limits::LOG_SWEEP_KEYS,
    storage::{LogBackend, LogState, SledLog, keyspaces::ChunkKey},
};

/// More chunks than many sweeps take.
const CHUNKS: u64 = 20 * LOG_SWEEP_KEYS as u64;
/// Each in a chunk of its own.
const BYTES: usize = 4_000;

/// Chunks of entries before this one.
fn before(tree: &sled::Tree, index: u64) -> usize {
    tree.range(ChunkKey::first_of(0).to_bytes()..ChunkKey::first_of(index).to_bytes()).count()
}

fn chunks(tree: &sled::Tree) -> usize {
    before(tree, u64::MAX)
}

/// A log of as many chunks, all but the last ten entries of which are purged, with its sync held back.
async fn purged(folder: &Folder, sync: &ControlledSync) -> SledLog {
    let log = folder.open_with(sync);
    for start in (0..CHUNKS).step_by(500) {
        let entries = (start..CHUNKS.min(start + 500)).map(|index| entry_of(1, index, BYTES));
        append(&log, entries.collect()).await.unwrap();
    }
    sync.set(Gate::Shut);
    log.purge(id(1, CHUNKS - 11)).await.unwrap();
    log
}

async fn swept(log: &SledLog) {
    let swept = async {
        while chunks(&log.shared.tree) > 10 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, swept).await.expect("what was purged goes, though nothing is written");
}

#[tokio::test]
async fn an_append_waits_for_one_sweep_and_not_for_all() {
    let (folder, sync, said) = (Folder::new(), ControlledSync::new(), Completions::new());
    let log = purged(&folder, &sync).await;
    let tree = log.shared.tree.clone();
    let left = said.says(move |result| result.map(|()| chunks(&tree)).unwrap());
    log.append(vec![entry_of(1, CHUNKS, BYTES)], left).await.unwrap();
    assert_eq!(log.state().first_index(), CHUNKS - 10, "purged is purged at once");
    sync.set(Gate::Open);
    let left = said.next();
    assert!(left > 15 * LOG_SWEEP_KEYS, "{left} chunks are left");
    log.purge(id(1, CHUNKS - 10)).await.unwrap();
    swept(&log).await;
    assert_eq!(
        all(&log).await,
        (CHUNKS - 9..=CHUNKS).map(|index| entry_of(1, index, BYTES)).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_log_that_ended_before_all_was_swept_is_whole_and_goes_on_sweeping() {
    let (folder, sync) = (Folder::new(), ControlledSync::new());
    let log = purged(&folder, &sync).await;
    let closing = tokio::spawn({
        let log = log.clone();
        async move { log.close().await }
    });
    tokio::task::yield_now().await;
    sync.set(Gate::Open);
    closing.await.unwrap().unwrap();
    let left = chunks(&log.shared.tree);
    assert!(left > 15 * LOG_SWEEP_KEYS, "{left} chunks are left, so nothing was shown");
    drop(log);

    let log = folder.open().unwrap();
    let kept: Vec<_> = (CHUNKS - 10..CHUNKS).map(|index| entry_of(1, index, BYTES)).collect();
    assert_eq!(log.state(), LogState { purged: Some(id(1, CHUNKS - 11)), last: Some(id(1, CHUNKS - 1)) });
    assert_eq!(all(&log).await, kept);
    swept(&log).await;
    assert_eq!(all(&log).await, kept);
}

#[tokio::test]
async fn while_chunks_are_swept_twice_as_many_go_as_come() {
    let (folder, sync) = (Folder::new(), ControlledSync::new());
    let log = purged(&folder, &sync).await;
    sync.set(Gate::Open);
    let mut next = CHUNKS;
    let mut most = 0;
    // As fast as it goes, each append with more chunks than a sweep has at least.
    while before(&log.shared.tree, CHUNKS - 10) > 0 {
        let count = 2 * LOG_SWEEP_KEYS as u64;
        append(&log, (next..next + count).map(|index| entry_of(1, index, BYTES)).collect()).await.unwrap();
        next += count;
        most = most.max(chunks(&log.shared.tree));
    }
    assert!(most <= CHUNKS as usize + 4 * LOG_SWEEP_KEYS, "there were {most} chunks");
}
