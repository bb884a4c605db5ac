//! Folders that do not fit: of another name, or emptied under a name that the cluster knows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cluster;

use cluster::{cluster, places, start, stop_all, try_start};
use rollcall_registry::StartError;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_another_name_is_refused_and_says_whose_it_is() {
    let root = tempfile::tempdir().unwrap();
    let place = places(root.path(), &["n1"]).remove(0);
    cluster(std::slice::from_ref(&place)).await.remove(0).stop().await;

    let mut renamed = place.clone();
    renamed.name = "n2".to_owned();
    let Err(StartError::Refused(reason)) = try_start(&renamed).await else { panic!("it started") };
    assert!(reason.contains("belongs to node n1, and this node is called n2"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founding_member_that_lost_its_disk_founds_nothing_when_all_start_again() {
    let root = tempfile::tempdir().unwrap();
    let places = places(root.path(), &["n1", "n2", "n3"]);
    stop_all(cluster(&places).await).await;

    // The one with the lowest name: it would be the one to propose.
    std::fs::remove_dir_all(root.path().join("n1")).unwrap();
    let mut wiped = start(&places[0], &places, 3).await;
    let mut others = vec![start(&places[1], &places, 3).await, start(&places[2], &places, 3).await];
    for node in &mut others {
        node.joined().await;
    }
    let refused = wiped.refused().await;
    assert!(refused.contains("remove node 1"), "{refused}");
    others.push(wiped);
    stop_all(others).await;
}
