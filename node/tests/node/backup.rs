//! Backups over the API and by the commands, from a node over a cluster of one in memory.

use std::process::{Output, Stdio};

use rollcall_proto::api::{SaveSnapshotRequest, cluster_service_client::ClusterServiceClient};
use serde_json::Value;
use tokio::process::Command;
use tonic::Code;
use tonic_types::StatusExt;

use super::support::{device::attach, node::TestNode};

async fn rollcall(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    command.args(arguments).env_remove("ROLLCALL_ADDR").stdin(Stdio::null());
    command.output().await.expect("the binary runs")
}

fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_comes_first_and_the_rest_is_the_file() {
    let node = TestNode::ready(&[]).await;
    let _held = attach(node.devices().await, "phone-1", &["sign"], &[]).await;
    let mut client = ClusterServiceClient::new(node.api().await);
    let mut parts =
        client.save_snapshot(SaveSnapshotRequest::default()).await.expect("a backup").into_inner();
    let first = parts.message().await.expect("a part").expect("the first part");
    let manifest = first.manifest.expect("a manifest");
    assert!(first.data.is_empty());
    assert_eq!((manifest.nodes, manifest.devices, manifest.sessions), (1, 1, 1));
    assert_eq!(manifest.saved_by, node.cluster.config().name);
    assert_eq!((manifest.cluster_id.len(), manifest.sha256.len()), (32, 64));
    let mut bytes = 0;
    while let Some(part) = parts.message().await.expect("a part") {
        assert!(part.manifest.is_none() && !part.data.is_empty());
        bytes += part.data.len() as u64;
    }
    assert_eq!(bytes, manifest.file_bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_only_a_stale_backup_is_made() {
    let node = TestNode::ready(&[]).await;
    node.cluster.set_quorum(false);
    let mut client = ClusterServiceClient::new(node.api().await);
    let refused = client.save_snapshot(SaveSnapshotRequest { stale: false }).await.expect_err("no leader");
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.get_error_details().error_info().expect("ErrorInfo").reason, "NO_LEADER");
    client.save_snapshot(SaveSnapshotRequest { stale: true }).await.expect("a stale backup");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_file_is_inspected_restored_and_refused_when_damaged() {
    let node = TestNode::ready(&[]).await;
    let _held = attach(node.devices().await, "phone-1", &["sign"], &[]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (file, addr) = (path("registry.backup"), node.cluster.config().advertise.api.clone());

    let saved = json(&rollcall(&["snapshot", "save", &file, "--addr", &addr, "--output", "json"]).await);
    assert_eq!((&saved["devices"], &saved["file"]), (&Value::from(1), &Value::from(file.as_str())));
    let inspected = json(&rollcall(&["snapshot", "inspect", &file, "--output", "json"]).await);
    assert_eq!(saved, inspected);
    let words = rollcall(&["snapshot", "inspect", &file]).await;
    assert!(String::from_utf8_lossy(&words.stdout).contains("1 known, 1 connected"), "{words:?}");

    let data_dir = path("data");
    let restore = ["snapshot", "restore", &file, "--data-dir", &data_dir, "--name", "n9", "--output", "json"];
    let restored = json(&rollcall(&restore).await);
    assert_eq!((&restored["name"], &restored["devices"]), (&Value::from("n9"), &Value::from(1)));
    assert_ne!(restored["cluster_id"], saved["cluster_id"]);
    assert_eq!(rollcall(&restore).await.status.code(), Some(1), "restored twice");

    let mut damaged = std::fs::read(&file).expect("the file");
    *damaged.last_mut().expect("a byte") ^= 1;
    std::fs::write(&file, damaged).expect("a damaged file");
    let refused = rollcall(&["snapshot", "inspect", &file]).await;
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("SHA-256"), "{refused:?}");
}
