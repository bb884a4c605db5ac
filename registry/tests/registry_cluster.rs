//! Registries in one process, each with a peer listener on loopback and a folder of its own: founding, joining,
//! committing through any node, coming back from disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cluster;

use std::collections::BTreeSet;

use cluster::{cluster, device, open_session, places, start, stop_all};
use rollcall_registry::{Registrar, model::ids::NodeId};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_empty_folders_become_one_cluster_and_commit_through_any_node() {
    let root = tempfile::tempdir().unwrap();
    let nodes = cluster(&places(root.path(), &["n1", "n2", "n3"])).await;

    let ids: BTreeSet<_> = nodes.iter().map(|node| node.registry.status().cluster_id).collect();
    assert_eq!(ids.len(), 1);
    for (number, node) in (1..).zip(&nodes) {
        assert_eq!(node.registry.node(), NodeId(number));
        let phone = device(&format!("phone-{number}"));
        let opened = node.registry.open(phone.clone(), open_session(1)).await.unwrap();
        for other in &nodes {
            other.has(opened.index).await;
            assert_eq!(other.holder(&phone), Some((NodeId(number), opened.epoch)));
        }
    }
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_close_of_an_older_session_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let nodes = cluster(&places(root.path(), &["n1", "n2", "n3"])).await;
    let phone = device("phone");
    let old = nodes[0].registry.open(phone.clone(), open_session(1)).await.unwrap();
    let new = nodes[1].registry.open(phone.clone(), open_session(2)).await.unwrap();
    assert!(new.epoch > old.epoch);

    let late = nodes[0].registry.disconnect(phone.clone(), old.epoch).await;
    assert!(late.is_err(), "a close of an older epoch was taken");
    let barrier = nodes[0].registry.open(device("other"), open_session(1)).await.unwrap();
    nodes[2].has(barrier.index).await;
    assert_eq!(nodes[2].holder(&phone), Some((NodeId(2), new.epoch)));
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_was_stopped_comes_back_with_its_devices_and_higher_epochs() {
    let root = tempfile::tempdir().unwrap();
    let founders = places(root.path(), &["n1", "n2", "n3"]);
    let nodes = cluster(&founders).await;
    let phone = device("phone");
    let before = nodes[0].registry.open(phone.clone(), open_session(1)).await.unwrap();
    stop_all(nodes).await;

    let nodes = cluster(&founders).await;
    for node in &nodes {
        node.has(before.index).await;
        assert!(node.registry.routes().device(&phone).is_some(), "the record is lost");
        assert_eq!(node.holder(&phone), None, "the session outlived its holder's process");
    }
    let after = nodes[2].registry.open(phone.clone(), open_session(2)).await.unwrap();
    assert!(after.epoch > before.epoch);
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fourth_node_joins_as_a_learner_and_has_everything() {
    let root = tempfile::tempdir().unwrap();
    let founders = places(root.path(), &["n1", "n2", "n3"]);
    let mut nodes = cluster(&founders).await;
    let phone = device("phone");
    let opened = nodes[0].registry.open(phone.clone(), open_session(1)).await.unwrap();

    let mut newcomer = start(&places(root.path(), &["n4"])[0], &founders, 0).await;
    newcomer.joined().await;
    newcomer.has(opened.index).await;
    assert_eq!(newcomer.holder(&phone), Some((NodeId(1), opened.epoch)));
    let mine = device("mine");
    let here = newcomer.registry.open(mine.clone(), open_session(1)).await.unwrap();
    nodes[0].has(here.index).await;
    assert_eq!(nodes[0].holder(&mine).unwrap().0, NodeId(4));
    let status = newcomer.registry.status();
    assert_eq!((status.voters.len(), status.learners), (3, vec![NodeId(4)]));
    nodes.push(newcomer);
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_index_covers_what_was_acknowledged_elsewhere() {
    let root = tempfile::tempdir().unwrap();
    let nodes = cluster(&places(root.path(), &["n1", "n2", "n3"])).await;
    let phone = device("phone");
    let opened = nodes[0].registry.open(phone.clone(), open_session(1)).await.unwrap();
    for node in &nodes {
        let index = node.registry.read_index().await.unwrap();
        assert!(index >= opened.index);
        node.has(index).await;
        assert!(node.holder(&phone).is_some());
    }
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_all_moved_at_once_find_each_other_by_their_join_list() {
    let root = tempfile::tempdir().unwrap();
    let before = places(root.path(), &["n1", "n2", "n3"]);
    let nodes = cluster(&before).await;
    let founded = nodes[0].registry.status().cluster_id;
    stop_all(nodes).await;

    let after = places(root.path(), &["n1", "n2", "n3"]);
    assert!(before.iter().zip(&after).all(|(before, after)| before.addr != after.addr));
    let nodes = cluster(&after).await;
    let opened = nodes[0].registry.open(device("phone"), open_session(1)).await.unwrap();
    for (node, place) in nodes.iter().zip(&after) {
        node.has(opened.index).await;
        assert_eq!(node.registry.status().cluster_id, founded);
        let known = nodes[0].registry.routes().node(node.registry.node()).unwrap();
        assert_eq!(known.addresses.peer, place.addr.to_string());
    }
    stop_all(nodes).await;
}
