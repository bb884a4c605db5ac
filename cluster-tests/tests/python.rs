//! A service in another language: plain grpcio with server reflection, as `proto/docs/calling.md` says.
//!
//! Without a Python that has grpcio the test says NOT RUN, see [`python_with_grpc`].

use anyhow::{Context, ensure};
use rollcall_cluster_tests::{Cluster, Lab, SPREAD_PATIENCE, python_with_grpc};
use tokio::process::Command;

const CALLER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/caller.py");

#[tokio::test(flavor = "multi_thread")]
async fn a_service_in_python_calls_by_reflection_alone() -> anyhow::Result<()> {
    let Some(python) = python_with_grpc().await else {
        println!("NOT RUN: no python with grpcio, grpcio-reflection and grpcio-status");
        return Ok(());
    };
    let cluster = Cluster::start(3).await?;
    let mut devices = Vec::new();
    for node in &cluster.nodes {
        let lab = Lab::new(&format!("snake-{}", node.name), "snakes").capacity(4);
        devices.push(lab.attach(&[node.device_url()]).await?);
    }
    cluster.caught_up(SPREAD_PATIENCE).await?;
    for node in &cluster.nodes {
        let url = node.api_url();
        let address = url.trim_start_matches("http://");
        let ran = Command::new(&python).args([CALLER, address, "snakes"]).kill_on_drop(true).output();
        let ran = tokio::time::timeout(6 * SPREAD_PATIENCE, ran).await.context("it does not end")??;
        let (said, complained) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        ensure!(ran.status.success(), "through {}: {said}\n{complained}", node.name);
        ensure!(said.contains("broadcast: 3 of 3"), "through {}: {said}", node.name);
    }
    cluster.finish().await
}
