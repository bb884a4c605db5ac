//! Clusters whose logs are purged behind a snapshot: newcomers, restarts, watches.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cluster;

use cluster::{cluster, device, open_session, places, start, stop_all};
use rollcall_registry::{Cursor, Registrar, WatchError, model::ids::LogIndex};

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
