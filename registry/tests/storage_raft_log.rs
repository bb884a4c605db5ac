//! openraft's view of the log, where its own suite does not look: bounded reads, many entries, and a restart.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{ops::Range, path::Path};

use futures::StreamExt;
use openraft::{
    EntryPayload, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
    type_config::TypeConfigExt,
    vote::leader_id_adv::LeaderId,
};
use rollcall_registry::{
    limits,
    model::{
        command::{Command, NodeDown, NodeDownReason},
        ids::{Incarnation, NodeId, UnixMillis},
    },
    raft::{
        log_storage::RaftLog,
        type_config::{Entry, LogId, Member, Membership, TypeConfig, Vote},
    },
    storage::{DataDir, SledLog},
};

fn log_id(index: u64) -> LogId {
    LogId { leader_id: LeaderId { term: 4, node_id: 1 }, index }
}

fn small(index: u64) -> Entry {
    let (node, incarnation, at) = (NodeId(2), Incarnation(index), UnixMillis(index));
    let down = NodeDown { node, incarnation, reason: NodeDownReason::LeaseLapsed, at, floor: None };
    Entry { log_id: log_id(index), payload: EntryPayload::Normal(Command::NodeDown(down).into()) }
}

/// About 100 KB.
fn large(index: u64) -> Entry {
    let member = |id: u64| Member { name: format!("{id:050}"), peer_addr: format!("{index:050}") };
    let members = (1..=900).map(|id| (id, member(id))).collect::<std::collections::BTreeMap<u64, Member>>();
    Entry { log_id: log_id(index), payload: EntryPayload::Membership(Membership::from(members)) }
}

fn open(folder: &Path) -> RaftLog<SledLog> {
    RaftLog::new(SledLog::open(&DataDir::open(folder, "n1").unwrap()).unwrap())
}

async fn reopened(folder: &Path, log: RaftLog<SledLog>) -> RaftLog<SledLog> {
    log.backend().close().await.unwrap();
    drop(log);
    open(folder)
}

async fn append(log: &mut RaftLog<SledLog>, entries: Vec<Entry>) {
    let (sender, flushed) = TypeConfig::oneshot();
    log.append(entries, IOFlushed::signal(sender)).await.unwrap();
    flushed.await.unwrap().unwrap();
}

async fn streamed(log: &mut RaftLog<SledLog>, range: Range<u64>) -> Vec<Entry> {
    log.entries_stream(range).await.map(|entry| entry.unwrap()).collect().await
}

#[tokio::test]
async fn reads_for_replication_are_bounded_by_bytes_from_memory_and_from_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(folder.path());
    let entries: Vec<Entry> = (0..40).map(large).collect();
    append(&mut log, entries.clone()).await;
    let bytes = rollcall_registry::raft::entry_codec::encode_entry(&entries[0]).len();
    let expected = limits::LOG_READ_BYTES / bytes;
    for _ in ["from memory", "from disk"] {
        let read = log.limited_get_log_entries(3, 40).await.unwrap();
        assert!(read == entries[3..3 + expected], "{} entries instead of {expected}", read.len());
        assert!(streamed(&mut log, 0..40).await == entries);
        assert!(log.try_get_log_entries(1..39).await.unwrap() == entries[1..39]);
        log = reopened(folder.path(), log).await;
    }
}

#[tokio::test]
async fn everything_comes_back_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(folder.path());
    let vote = Vote { leader_id: LeaderId { term: 4, node_id: 1 }, committed: true };
    log.save_vote(&vote).await.unwrap();
    append(&mut log, (0..3_000).map(small).collect()).await;
    log.save_committed(Some(log_id(2_500))).await.unwrap();
    log.purge(log_id(999)).await.unwrap();
    log.truncate_after(Some(log_id(2_799))).await.unwrap();

    let mut log = reopened(folder.path(), log).await;
    assert_eq!(log.read_vote().await.unwrap(), Some(vote));
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(2_500)));
    let state = log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(log_id(999)), Some(log_id(2_799))));
    let expected: Vec<Entry> = (1_000..2_800).map(small).collect();
    assert!(streamed(&mut log, 0..u64::MAX).await == expected);
    append(&mut log, vec![small(2_800)]).await;
    assert!(log.try_get_log_entries(2_799..).await.unwrap() == [small(2_799), small(2_800)]);
}

#[tokio::test]
async fn a_truncated_entry_is_never_read_from_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(folder.path());
    append(&mut log, (0..10).map(small).collect()).await;
    log.truncate_after(Some(log_id(4))).await.unwrap();
    assert_eq!(log.try_get_log_entries(0..10).await.unwrap().len(), 5);
    append(&mut log, (5..7).map(large).collect()).await;
    assert!(log.try_get_log_entries(4..10).await.unwrap() == [small(4), large(5), large(6)]);
}
