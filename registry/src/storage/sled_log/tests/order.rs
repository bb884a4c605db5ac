//! Acknowledged means synced, in order; after a fault nothing is acknowledged.

use std::time::Duration;

use tokio::time::timeout;

use super::fixture::*;
use crate::storage::{LogBackend, SledLog, StorageError, StoredVote};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

fn vote(term: u64) -> StoredVote {
    StoredVote { term, node: 1, committed: true }
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_synced() {
    let (folder, sync, said) = (Folder::new(), ControlledSync::new(), Completions::new());
    let log = folder.open_with(&sync);
    sync.set(Gate::Shut);
    log.append(entries(1, 0..3), said.says(|result| result.is_ok())).await.unwrap();
    assert_eq!(all(&log).await, entries(1, 0..3), "readable at once");
    let saving = tokio::spawn({
        let log = log.clone();
        async move { log.save_vote(vote(7)).await }
    });
    tokio::task::yield_now().await;
    assert!(said.none_yet() && !saving.is_finished() && log.vote().is_none());
    let before = sync.syncs();
    sync.set(Gate::Open);
    assert!(said.next());
    assert!(sync.syncs() > before);
    timeout(PATIENCE, saving).await.expect("the vote is saved").unwrap().unwrap();
    assert_eq!(log.vote(), Some(vote(7)));
}

#[tokio::test]
async fn completions_come_in_the_order_of_the_appends() {
    let (folder, said) = (Folder::new(), Completions::new());
    let log = folder.open().unwrap();
    for index in 0..500 {
        let number = said.says(move |result| result.map(|()| index).unwrap());
        log.append(entries(1, index..index + 1), number).await.unwrap();
    }
    for index in 0..500 {
        assert_eq!(said.next(), index);
    }
}

#[tokio::test]
async fn a_third_append_waits_for_a_permit() {
    let (folder, sync, said) = (Folder::new(), ControlledSync::new(), Completions::new());
    let log = folder.open_with(&sync);
    sync.set(Gate::Shut);
    log.append(entries(1, 0..1), said.says(drop)).await.unwrap();
    log.append(entries(1, 1..2), said.says(drop)).await.unwrap();
    let third = log.append(entries(1, 2..3), said.says(drop));
    assert!(timeout(Duration::from_millis(50), third).await.is_err());
    assert_eq!(log.state().next_index(), 2, "a dropped append leaves nothing");
    sync.set(Gate::Open);
    append(&log, entries(1, 2..3)).await.unwrap();
    assert_eq!(all(&log).await, entries(1, 0..3));
}

#[tokio::test]
async fn after_an_io_error_nothing_is_acknowledged_and_the_store_is_poisoned() {
    for errno in [ENOSPC, EIO] {
        let (folder, sync, said) = (Folder::new(), ControlledSync::new(), Completions::new());
        let log = folder.open_with(&sync);
        append(&log, entries(1, 0..1)).await.unwrap();
        sync.set(Gate::Shut);
        log.append(entries(1, 1..2), said.says(|result| result)).await.unwrap();
        log.append(entries(1, 2..3), said.says(|result| result)).await.unwrap();
        sync.set(Gate::Fails(errno));
        for _ in 0..2 {
            assert!(matches!(said.next(), Err(StorageError::Poisoned(_))));
        }
        // The disk works again, but nobody knows what it lost meanwhile.
        sync.set(Gate::Open);
        let fault = timeout(PATIENCE, log.poisoned()).await.expect("the fault is told");
        assert!(matches!(fault, StorageError::Io { action: "sync", .. }), "{fault}");
        assert!(append(&log, entries(1, 3..4)).await.is_err());
        assert!(log.save_vote(vote(9)).await.is_err());
        assert!(log.truncate_after(None).await.is_err());
        assert!(log.purge(id(1, 0)).await.is_err());
        assert!(log.save_committed(Some(id(1, 0))).is_err());
        assert!(log.read(0..1, usize::MAX).await.is_err());
        assert!(log.close().await.is_err());
    }
}

#[tokio::test]
async fn entries_that_do_not_follow_are_refused() {
    let folder = Folder::new();
    let log = folder.open().unwrap();
    append(&log, entries(1, 0..1)).await.unwrap();
    assert!(matches!(
        append(&log, entries(1, 5..6)).await,
        Err(StorageError::OutOfOrder { expected: 1, found: 5 })
    ));
    append(&log, entries(1, 1..2)).await.unwrap();
}

#[tokio::test]
async fn the_committed_index_is_written_even_if_nothing_else_is() {
    let folder = Folder::new();
    let log = folder.open().unwrap();
    append(&log, entries(1, 0..3)).await.unwrap();
    log.save_committed(Some(id(1, 2))).unwrap();
    assert_eq!(log.committed(), Some(id(1, 2)));
    log.close().await.unwrap();
    drop(log);
    assert_eq!(folder.open().unwrap().committed(), Some(id(1, 2)));
}

#[tokio::test]
async fn a_closed_log_refuses_writes() {
    let folder = Folder::new();
    let log = folder.open().unwrap();
    log.close().await.unwrap();
    assert!(matches!(append(&log, entries(1, 0..1)).await, Err(StorageError::Closed)));
    assert!(matches!(log.save_vote(vote(1)).await, Err(StorageError::Closed)));
}

#[tokio::test]
async fn a_log_that_is_still_held_is_waited_for() {
    let folder = Folder::new();
    let log = folder.open().unwrap();
    append(&log, entries(1, 0..1)).await.unwrap();
    log.close().await.unwrap();
    drop(log);
    let dir = folder.dir();
    let held = std::fs::File::open(dir.log_path().join("db")).unwrap();
    assert!(fs4::fs_std::FileExt::try_lock_exclusive(&held).unwrap());
    let opening = tokio::task::spawn_blocking(move || SledLog::open(&dir));
    assert!(!opening.is_finished());
    drop(held);
    let log = timeout(PATIENCE, opening).await.expect("the log opens").unwrap().unwrap();
    assert_eq!(all(&log).await, entries(1, 0..1));
}
