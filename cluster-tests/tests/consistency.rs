//! How fresh a read is: what this node has, what was written before, what is true of the cluster.

use anyhow::{Context, ensure};
use rollcall_cluster_tests::{Cluster, HEAL_PATIENCE, Node, refusal, wait_until};
use rollcall_proto::api::{Consistency, CreateDeviceRequest, GetDeviceRequest, GetDeviceResponse};
use tonic::Status;

async fn read(
    node: &Node,
    device_id: &str,
    consistency: Consistency,
    min_index: u64,
) -> anyhow::Result<Result<GetDeviceResponse, Status>> {
    let device_id = device_id.to_owned();
    let request =
        GetDeviceRequest { device_id, consistency: consistency.into(), min_index, ..Default::default() };
    Ok(node.api()?.registry.get_device(request).await.map(tonic::Response::into_inner))
}

async fn create(node: &Node, device_id: &str) -> anyhow::Result<u64> {
    let request = CreateDeviceRequest { device_id: device_id.into(), ..Default::default() };
    Ok(node.api()?.registry.create_device(request).await?.into_inner().index)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_through_one_node_is_read_through_any_other() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    for round in 0..15 {
        let device_id = format!("pad-{round}");
        let index = create(&cluster.nodes[round % 3], &device_id).await?;
        for node in &cluster.nodes {
            let seen = read(node, &device_id, Consistency::Local, index).await?;
            let seen = seen.with_context(|| format!("{} with min_index {index}", node.name))?;
            ensure!(seen.index >= index, "{} answers as of {}", node.name, seen.index);
        }
        let device_id = format!("tab-{round}");
        create(&cluster.nodes[round % 3], &device_id).await?;
        for node in &cluster.nodes {
            let seen = read(node, &device_id, Consistency::Linearizable, 0).await?;
            seen.with_context(|| format!("{} linearizably", node.name))?;
        }
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_only_reads_that_need_none_are_answered() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let last = cluster.node("n2")?;
    let index = create(&last, "pad").await?;
    for name in ["n1", "n3"] {
        cluster.node(name)?.kill9()?;
    }
    let refused = wait_until("a linearizable read is refused", HEAL_PATIENCE, async || {
        refusal(read(&last, "pad", Consistency::Linearizable, 0).await?)
    })
    .await?;
    ensure!(refused.reason == "NO_LEADER", "{refused:?}");
    let local = read(&last, "pad", Consistency::Local, 0).await?.context("a local read")?;
    ensure!(local.index >= index);
    read(&last, "pad", Consistency::Local, local.index).await?.context("what it has")?;
    let ahead = refusal(read(&last, "pad", Consistency::Local, local.index + 1_000).await?)?;
    ensure!(ahead.reason == "REPLICA_BEHIND", "{ahead:?}");
    cluster.finish().await
}
