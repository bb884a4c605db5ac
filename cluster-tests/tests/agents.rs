//! `rollcall-agent` as a process: handlers, reconnecting, stopping.

use anyhow::ensure;
use bytes::Bytes;
use rollcall_cluster_tests::{
    AgentProcess, Cluster, ClusterPlan, HEAL_PATIENCE, SPREAD_PATIENCE, STOP_PATIENCE, Scratch,
    SharedCluster, call, refusal, wait_until,
};
use rollcall_proto::api::InvokeRequest;

static CLUSTER: SharedCluster = SharedCluster::new(|| ClusterPlan::of(3));

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_process_echoes_and_runs_commands() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let scratch = Scratch::new("agent")?;
    let actions = ["echo=echo", "upper=exec:tr a-z A-Z", "fail=exec:sh -c 'echo no paper >&2; exit 3'"];
    let servers = [cluster.nodes[1].device_url()];
    let mut agent = AgentProcess::start(&scratch, &servers, "phone-1", "phones", &actions).await?;
    for node in &cluster.nodes {
        wait_until("phone-1 is callable", SPREAD_PATIENCE, async || {
            node.api()?.echo("phones", "phone-1").await
        })
        .await?;
        let hello = |action| InvokeRequest { payload: Bytes::from("hello"), ..call("phones", action) };
        let answer = node.api()?.call(hello("upper")).await?;
        ensure!(answer.payload == "HELLO" && answer.node == "n2", "{answer:?}");
        let answer = node.api()?.call(hello("fail")).await;
        let message = answer.as_ref().err().map(|status| status.message().to_owned()).unwrap_or_default();
        ensure!(refusal(answer)?.reason == "DEVICE_ERROR" && message.contains("no paper"), "{message:?}");
    }
    agent.process.signal(rustix::process::Signal::TERM)?;
    let status = agent.process.wait(STOP_PATIENCE).await?;
    ensure!(status.success(), "it ended with {status}");
    wait_until("it is detached", SPREAD_PATIENCE, async || {
        let device = cluster.nodes[0].api()?.device("phone-1").await?;
        ensure!(device.session.is_none(), "{device:?}");
        Ok(())
    })
    .await?;
    scratch.discard()?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_process_finds_another_node_by_itself() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let scratch = Scratch::new("agent")?;
    let _agent =
        AgentProcess::start(&scratch, &cluster.device_urls(), "phone-2", "phones", &["echo=echo"]).await?;
    let api = cluster.nodes[1].api()?;
    let first =
        wait_until("phone-2 is callable", SPREAD_PATIENCE, async || api.echo("phones", "phone-2").await)
            .await?;
    let holder = cluster.node(&first.node)?;
    holder.kill9()?;
    for node in cluster.running() {
        let again = wait_until("phone-2 is callable again", HEAL_PATIENCE, async || {
            node.api()?.echo("phones", "phone-2").await
        })
        .await?;
        ensure!(again.node != first.node && again.epoch > first.epoch, "{again:?} after {first:?}");
    }
    scratch.discard()?;
    cluster.finish().await
}
