//! What a survivor of a lost quorum has becomes a new cluster.

use prost::Message;

use super::*;
use crate::{codec::command_to_proto, storage::StoredEntry};

/// A node's folder with this log, of which the last entry was never committed.
async fn lay_out(folder: &Path, batches: &[Vec<u8>]) {
    let dir = DataDir::open(folder, "n2").unwrap();
    let member = storage::NodeIdentity {
        format: identity::FORMAT,
        name: "n2".to_owned(),
        storage_id: vec![2; 16].into(),
        boot_counter: 1,
        cluster_id: CLUSTER.to_bytes().to_vec().into(),
        node_id: 2,
        ..Default::default()
    };
    identity::save(&dir, &member).unwrap();
    let log = SledLog::open(&dir).unwrap();
    let first = storage::entry::Payload::Membership(membership());
    let commands = commands(batches);
    let commands = commands
        .iter()
        .map(|command| storage::entry::Payload::Command(command_to_proto(command, FeatureLevel::NEWEST)));
    let payloads = std::iter::once(first).chain(commands);
    let entries: Vec<StoredEntry> =
        (0..).zip(payloads).map(|(index, payload)| entry(index, payload)).collect();
    let last = entries.last().unwrap().log_id;
    log.append(entries, Box::new(|done| done.unwrap())).await.unwrap();
    log.save_committed(Some(StoredLogId { index: last.index - 1, ..last })).unwrap();
    log.save_vote(StoredVote { term: TERM, node: 1, committed: true }).await.unwrap();
    log.close().await.unwrap();
}

fn entry(index: u64, payload: storage::entry::Payload) -> StoredEntry {
    let log_id = StoredLogId { term: TERM, leader: 1, index };
    let entry = storage::Entry {
        log_id: Some(storage::LogId { term: TERM, leader: 1, index }),
        payload: Some(payload),
    };
    StoredEntry { log_id, bytes: entry.encode_to_vec().into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_survivor_says_what_may_be_lost_and_keeps_all_that_it_has() {
    let folder = tempfile::tempdir().unwrap();
    lay_out(folder.path(), &[vec![1, 2], vec![3]]).await;
    let path = folder.path().to_owned();
    let recovered = tokio::task::spawn_blocking(move || {
        let survivor = Survivor::examine(&path).unwrap();
        let loss = survivor.loss().clone();
        assert_eq!((loss.cluster, loss.name.as_str(), loss.node), (CLUSTER, "n2", NodeId(2)));
        assert_eq!((loss.last_log, loss.last_term, loss.snapshot), (LogIndex(5), TERM, None));
        assert_eq!(loss.committed, Some(LogIndex(4)));
        assert_eq!((loss.voters, loss.lost_voters), (vec!["n1".into(), "n2".into()], vec!["n1".to_owned()]));
        assert_eq!((loss.devices, loss.sessions), (3, 3));
        survivor.recover().unwrap()
    });
    let recovered = recovered.await.unwrap();
    let (state, header) = restored_state(folder.path());
    let names: Vec<_> = views(&state).iter().map(|view| view.key.device.to_string()).collect();
    assert_eq!(
        names,
        ["device-1", "device-2", "device-3"],
        "the entry that was not known to be committed is lost"
    );
    assert_eq!(state.routes().counts().sessions, 0);
    assert_eq!((recovered.node, recovered.name.as_str(), recovered.index), (NodeId(4), "n2", LogIndex(5)));
    assert_eq!(header.membership.unwrap().members[&4].peer_addr, "h2:7402");
    let archive = recovered.archive.unwrap();
    assert!(archive.join("log").is_dir() && archive.join("identity").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_a_survivor_changes_nothing_and_it_can_be_recovered_twice() {
    let folder = tempfile::tempdir().unwrap();
    lay_out(folder.path(), &[vec![1]]).await;
    let path = folder.path().to_owned();
    let (first, second) = tokio::task::spawn_blocking(move || {
        let loss = Survivor::examine(&path).unwrap().loss().clone();
        assert_eq!(Survivor::examine(&path).unwrap().loss(), &loss);
        let first = Survivor::examine(&path).unwrap().recover().unwrap();
        (first, Survivor::examine(&path).unwrap().recover().unwrap())
    })
    .await
    .unwrap();
    assert_eq!((first.node, second.node), (NodeId(4), NodeId(5)));
    assert!(second.epoch_base > first.epoch_base && second.cluster != first.cluster);
    assert_eq!((second.devices, second.index), (1, first.index));
}

#[tokio::test]
async fn a_folder_without_a_member_is_not_recovered() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none");
    assert!(matches!(Survivor::examine(&none), Err(BackupError::NoMember { .. })));
    assert!(!none.exists());
    assert!(matches!(Survivor::examine(folder.path()), Err(BackupError::NoMember { .. })));
}
