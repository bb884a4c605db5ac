//! Clusters whose logs are purged behind a snapshot: newcomers, restarts, watches.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cluster;

use bytes::Bytes;
use cluster::{Node, Place, cluster, device, open_session, places, start, stop_all};
use rollcall_proto::{
    peer::{
        InstallSnapshotRequest, SnapshotHead, install_snapshot_request::Part,
        raft_service_client::RaftServiceClient,
    },
    storage::{SnapshotHeader, Vote},
};
use rollcall_registry::{
    Cursor, Registrar, WatchError,
    limits::SNAPSHOT_PROGRESS,
    model::ids::{LogIndex, NodeId},
    raft::Seat,
};
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Request, Status};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_catches_up_when_the_log_is_purged() {
    let root = tempfile::tempdir().unwrap();
    let founders = places(root.path(), &["n1", "n2", "n3"]);
    let mut nodes = cluster(&founders).await;
    let phone = device("phone");
    let opened = nodes[0].registry.open(phone.clone(), open_session(1)).await.unwrap();
    for node in &nodes {
        node.has(opened.index).await;
        assert!(node.registry.compact_log().await.unwrap() >= opened.index);
    }

    let mut newcomer = start(&places(root.path(), &["n4"])[0], &founders, 0).await;
    newcomer.joined().await;
    newcomer.has(opened.index).await;
    assert_eq!(newcomer.holder(&phone), Some((nodes[0].id(), opened.epoch)));
    let cluster = newcomer.registry.status().cluster_id.unwrap();
    let before = Cursor { cluster, index: LogIndex(1), position: 0 };
    let watch = newcomer.registry.watch(Some(before));
    assert!(matches!(watch, Err(WatchError::TooOld { .. })), "it watches what only the snapshot stands for");
    let mine = device("mine");
    let here = newcomer.registry.open(mine.clone(), open_session(1)).await.unwrap();
    nodes[0].has(here.index).await;
    assert_eq!(nodes[0].holder(&mine), Some((newcomer.id(), here.epoch)));
    nodes.push(newcomer);
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_restarts_from_a_snapshot_knows_how_far_its_history_reaches() {
    let root = tempfile::tempdir().unwrap();
    let place = &places(root.path(), &["n1"])[0];
    let alone = std::slice::from_ref(place);
    let node = cluster(alone).await.remove(0);
    let phone = device("phone");
    let opened = node.registry.open(phone.clone(), open_session(1)).await.unwrap();
    let compacted = node.registry.compact_log().await.unwrap();
    let cluster = node.registry.status().cluster_id.unwrap();
    node.stop().await;

    // Its join list names nobody who answers: it has nothing but its folder.
    let mut node = start(place, alone, 1).await;
    node.has(compacted).await;
    node.joined().await;
    assert!(node.registry.routes().device(&phone).is_some(), "the record is lost");
    let before = Cursor { cluster, index: LogIndex(1), position: 0 };
    assert!(matches!(node.registry.watch(Some(before)), Err(WatchError::TooOld { .. })));
    let after = Cursor { cluster, index: compacted, position: u32::MAX };
    let mut watch = node.registry.watch(Some(after)).unwrap();
    let again = node.registry.open(phone, open_session(2)).await.unwrap();
    assert!(again.epoch > opened.epoch);
    while watch.next().await.unwrap().cursor.index < again.index {}
    node.stop().await;
}

/// Sends a snapshot that says this of itself, as the leader would, and then these bytes; the receiver's word.
async fn sent(
    place: &Place,
    node: &Node,
    head: SnapshotHead,
    body: impl Stream<Item = Bytes> + Send + 'static,
) -> Status {
    let cluster = node.registry.status().cluster_id.unwrap();
    let parts = body.map(Part::Data);
    let parts = tokio_stream::once(Part::Head(head)).chain(parts);
    let mut request = Request::new(parts.map(|part| InstallSnapshotRequest { part: Some(part) }));
    Seat { cluster, node: NodeId(2) }.sign(node.id(), request.metadata_mut());
    let mut leader = RaftServiceClient::connect(format!("http://{}", place.addr)).await.unwrap();
    let answer = tokio::time::timeout(SNAPSHOT_PROGRESS * 2, leader.install_snapshot(request)).await;
    answer.expect("the receiver gives up").expect_err("it is refused")
}

fn files(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.dir.join("snapshots")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_not_what_its_head_says_is_refused_and_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let founders = places(root.path(), &["n1", "n2", "n3"]);
    let nodes = cluster(&founders).await;
    let (place, node) = (&founders[0], &nodes[0]);
    let before = files(place);
    let body = Bytes::from_static(b"0123456789");
    let head = |format: u32| SnapshotHead {
        vote: Some(Vote { term: 1, node: 2, committed: true }),
        header: Some(SnapshotHeader { format, ..SnapshotHeader::default() }),
        bytes: 10,
        crc32c: crc32c::crc32c(b"0123456789"),
    };
    let once = |body: &Bytes| tokio_stream::once(body.clone());

    let newer = sent(place, node, head(99), once(&body)).await;
    assert_eq!(newer.code(), Code::FailedPrecondition);
    assert!(newer.message().contains("format 99") && newer.message().contains("upgrade"), "{newer}");
    let damaged = sent(place, node, SnapshotHead { crc32c: 1, ..head(1) }, once(&body)).await;
    assert_eq!(damaged.code(), Code::DataLoss);
    let longer = sent(place, node, SnapshotHead { bytes: 9, ..head(1) }, once(&body)).await;
    assert_eq!(longer.code(), Code::DataLoss);
    let cut_short = sent(place, node, SnapshotHead { bytes: 11, ..head(1) }, once(&body)).await;
    assert_eq!(cut_short.code(), Code::DataLoss);
    let silent = sent(place, node, head(1), tokio_stream::pending()).await;
    assert_eq!(silent.code(), Code::DeadlineExceeded);

    assert_eq!(files(place), before, "something is left");
    let opened = nodes[1].registry.open(device("phone"), open_session(1)).await.unwrap();
    node.has(opened.index).await;
    stop_all(nodes).await;
}
