//! What was written is what is read, before and after a restart.

use proptest::{prelude::*, test_runner::Config};

use super::fixture::*;
use crate::{
    limits,
    storage::{LogBackend, LogState, MemoryDisk, MemoryLog, SledLog, StoredEntry, memory::SyncPolicy},
};

async fn reopened(folder: &Folder, log: SledLog) -> SledLog {
    log.close().await.unwrap();
    drop(log);
    folder.open().unwrap()
}

#[tokio::test]
async fn entries_of_all_sizes_come_back() {
    let folder = Folder::new();
    let log = folder.open().unwrap();
    let sizes = [0, 1, 200, 6_000, 6_117, 6_118, 6_144, 7_000, 100_000, limits::LOG_ENTRY_BYTES, 5];
    let written: Vec<StoredEntry> =
        sizes.iter().zip(0..).map(|(&bytes, index)| entry_of(1, index, bytes)).collect();
    append(&log, written.clone()).await.unwrap();
    assert_eq!(all(&log).await, written);
    let log = reopened(&folder, log).await;
    assert_eq!(all(&log).await, written);
    for (index, entry) in written.iter().enumerate() {
        let index = index as u64;
        assert_eq!(log.read(index..index + 1, 0).await.unwrap(), std::slice::from_ref(entry));
    }
}

#[tokio::test]
async fn no_value_in_sled_is_larger_than_the_limit() {
    let folder = Folder::new();
    let log = folder.open().unwrap();
    for (index, bytes) in [50_000, 6_144, 6_000, 3_000, 3_000, 3_000].into_iter().enumerate() {
        append(&log, vec![entry_of(1, index as u64, bytes)]).await.unwrap();
    }
    append(&log, (6..200).map(|index| entry_of(1, index, 200)).collect()).await.unwrap();
    log.close().await.unwrap();
    drop(log);
    folder.with_tree(|tree| {
        let largest = tree.iter().values().map(|value| value.unwrap().len()).max();
        assert!(largest.unwrap() <= limits::LOG_VALUE_BYTES);
    });
    let blobs = std::fs::read_dir(folder.dir().log_path().join("blobs")).unwrap().count();
    assert_eq!(blobs, 0, "blobs are never synced");
}

#[tokio::test]
async fn an_entry_beyond_the_limit_is_refused_without_harm() {
    let folder = Folder::new();
    let log = folder.open().unwrap();
    assert!(append(&log, vec![entry_of(1, 0, limits::LOG_ENTRY_BYTES + 1)]).await.is_err());
    append(&log, entries(1, 0..1)).await.unwrap();
}

#[tokio::test]
async fn a_read_stops_at_its_bytes_but_gives_at_least_one() {
    let folder = Folder::new();
    let log = folder.open().unwrap();
    append(&log, entries(1, 0..100)).await.unwrap();
    let log = reopened(&folder, log).await;
    assert_eq!(log.read(10..90, 1_050).await.unwrap(), entries(1, 10..20));
    assert_eq!(log.read(10..90, 0).await.unwrap(), entries(1, 10..11));
    assert_eq!(log.read(90..200, usize::MAX).await.unwrap(), entries(1, 90..100));
    assert_eq!(log.read(100..200, usize::MAX).await.unwrap(), []);
}

#[tokio::test]
async fn a_truncated_end_is_gone_and_can_be_written_anew() {
    let folder = Folder::new();
    let log = folder.open().unwrap();
    append(&log, entries(1, 0..100)).await.unwrap();
    log.truncate_after(Some(id(1, 40))).await.unwrap();
    assert_eq!(log.state(), LogState { purged: None, last: Some(id(1, 40)) });
    let log = reopened(&folder, log).await;
    assert_eq!(all(&log).await, entries(1, 0..41));
    append(&log, entries(2, 41..50)).await.unwrap();
    let log = reopened(&folder, log).await;
    assert_eq!(all(&log).await, [entries(1, 0..41), entries(2, 41..50)].concat());
    log.truncate_after(None).await.unwrap();
    assert_eq!(all(&log).await, []);
    let log = reopened(&folder, log).await;
    assert_eq!(log.state(), LogState::default());
}

#[tokio::test]
async fn purged_entries_are_gone_also_if_their_chunk_is_not() {
    let folder = Folder::new();
    let log = folder.open().unwrap();
    append(&log, entries(1, 0..100)).await.unwrap();
    log.purge(id(1, 40)).await.unwrap();
    assert_eq!(all(&log).await, entries(1, 41..100));
    let log = reopened(&folder, log).await;
    assert_eq!(log.state(), LogState { purged: Some(id(1, 40)), last: Some(id(1, 99)) });
    assert_eq!(all(&log).await, entries(1, 41..100));
}

#[tokio::test]
async fn a_snapshot_may_purge_beyond_the_end() {
    let folder = Folder::new();
    let log = folder.open().unwrap();
    append(&log, entries(1, 0..10)).await.unwrap();
    log.purge(id(3, 500)).await.unwrap();
    append(&log, entries(3, 501..503)).await.unwrap();
    let log = reopened(&folder, log).await;
    assert_eq!(log.state(), LogState { purged: Some(id(3, 500)), last: Some(id(3, 502)) });
    assert_eq!(all(&log).await, entries(3, 501..503));
    log.purge(id(3, 502)).await.unwrap();
    let log = reopened(&folder, log).await;
    assert_eq!(log.state(), LogState { purged: Some(id(3, 502)), last: Some(id(3, 502)) });
}

#[tokio::test]
async fn an_empty_log_may_begin_anywhere() {
    let folder = Folder::new();
    let log = folder.open().unwrap();
    append(&log, entries(1, 7..9)).await.unwrap();
    let log = reopened(&folder, log).await;
    assert_eq!(all(&log).await, entries(1, 7..9));
    log.truncate_after(None).await.unwrap();
    append(&log, entries(1, 0..9)).await.unwrap();
    let log = reopened(&folder, log).await;
    assert_eq!(all(&log).await, entries(1, 0..9));
}

#[derive(Debug, Clone)]
enum Step {
    Append(u64, usize),
    Truncate(u64),
    Purge(u64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..80u64, prop_oneof![4 => 0..300usize, 1 => 5_000..20_000usize]).prop_map(|(n, size)| Step::Append(n, size)),
        2 => (0..60u64).prop_map(Step::Truncate),
        2 => (0..60u64).prop_map(Step::Purge),
        1 => Just(Step::Reopen),
    ]
}

/// Does one step to a log; `term` tells entries of one index apart.
async fn run(log: &impl LogBackend, term: u64, step: &Step) {
    let state = log.state();
    match *step {
        Step::Append(count, size) => {
            let next = state.next_index();
            let entries = (next..next + count).map(|index| entry_of(term, index, size)).collect();
            log.append(entries, Box::new(|result| result.unwrap())).await.unwrap();
        }
        Step::Truncate(back) => {
            let next = state.next_index().saturating_sub(back).max(state.first_index());
            let last = log.read(next.saturating_sub(1)..next, 0).await.unwrap().pop();
            log.truncate_after(last.map(|entry| entry.log_id).or(state.purged)).await.unwrap();
        }
        Step::Purge(count) => {
            let upto = state.first_index() + count;
            if let Some(entry) = log.read(upto..upto + 1, 0).await.unwrap().pop() {
                log.purge(entry.log_id).await.unwrap();
            }
        }
        Step::Reopen => {}
    }
}

async fn disk_equals_memory(steps: Vec<Step>) {
    let folder = Folder::new();
    let mut log = folder.open().unwrap();
    let model = MemoryLog::open(&MemoryDisk::new(SyncPolicy::EachWrite));
    for (step, term) in steps.iter().zip(1..) {
        if matches!(step, Step::Reopen) {
            log = reopened(&folder, log).await;
        }
        run(&log, term, step).await;
        run(&model, term, step).await;
        assert_eq!(log.state(), model.state());
        let expected = model.read(0..u64::MAX, usize::MAX).await.unwrap();
        assert_eq!(all(&log).await, expected);
    }
    let log = reopened(&folder, log).await;
    assert_eq!(log.state(), model.state());
    assert_eq!(all(&log).await, model.read(0..u64::MAX, usize::MAX).await.unwrap());
}

/// Few, because each opens several logs; as many as `PROPTEST_CASES` says, if it is set.
fn cases() -> Config {
    let told = std::env::var_os("PROPTEST_CASES").is_some();
    let config = Config::default();
    Config { cases: if told { config.cases } else { 24 }, ..config }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn the_log_on_disk_is_the_log_in_memory(steps in proptest::collection::vec(step(), 1..24)) {
        tokio::runtime::Runtime::new().unwrap().block_on(disk_equals_memory(steps));
    }
}
