//! Waiting, visibly, until the three processes are one cluster.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rollcall_proto::api::{
    GetClusterRequest, ListNodesRequest, NodeState, cluster_service_client::ClusterServiceClient,
};
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};

use super::{
    children::Children,
    layout::{Layout, Place},
    limits,
    terminal::Terminal,
};

/// Waits until every node knows the leader and sees all nodes up.
pub(super) async fn wait(
    layout: &Layout,
    children: &mut Children,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let formed = until("the nodes are one cluster", limits::FORM_PATIENCE, terminal, async || {
        let mut leader = String::new();
        for node in &layout.nodes {
            leader = ready(node, layout).await?;
        }
        Ok(leader)
    });
    let leader = tokio::select! {
        leader = formed => leader?,
        (name, pid, status) = children.one_ended() => bail!("{name} (pid {pid}) ended: {status}"),
    };
    terminal.say(format!("one cluster, led by {leader}"));
    Ok(())
}

/// The leader's name, once the node is ready.
async fn ready(node: &Place, layout: &Layout) -> anyhow::Result<String> {
    let mut client = ClusterServiceClient::new(channel(node)?);
    let name = &node.name;
    let cluster = client.get_cluster(quick(GetClusterRequest {})).await;
    let cluster = cluster.map_err(|status| said(name, &status))?.into_inner();
    ensure!(!cluster.leader.is_empty() && cluster.has_quorum, "{name} knows no leader yet");
    let nodes = client.list_nodes(quick(ListNodesRequest::default())).await;
    let nodes = nodes.map_err(|status| said(name, &status))?.into_inner().nodes;
    let up = nodes.iter().filter(|node| node.state() == NodeState::Up).count();
    ensure!(up == layout.nodes.len(), "{name} sees {up} of {} nodes up", layout.nodes.len());
    Ok(cluster.leader)
}

fn said(name: &str, status: &tonic::Status) -> anyhow::Error {
    match status.code() {
        tonic::Code::Unavailable => anyhow::anyhow!("{name} does not listen yet"),
        code => anyhow::anyhow!("{name} says {code:?}: {}", status.message()),
    }
}

/// A connection to a node's API; dialled when it is first used.
pub(super) fn channel(node: &Place) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(node.api_url()).context("not a URL")?;
    Ok(endpoint.connect_timeout(limits::ASK_PATIENCE).connect_lazy())
}

/// A question to a node that may be dead.
pub(super) fn quick<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(limits::ASK_PATIENCE);
    request
}

/// Looks again and again until `look` succeeds; says what it waits for whenever that changes, and now and then.
pub(super) async fn until<T>(
    what: &str,
    patience: Duration,
    terminal: &Terminal,
    mut look: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    let (mut said, mut said_at) = (String::new(), begun);
    loop {
        let observed = match look().await {
            Ok(seen) => return Ok(seen),
            Err(observed) => observed,
        };
        if begun.elapsed() > patience {
            return Err(observed.context(format!("waited {} s until {what}", patience.as_secs())));
        }
        let line = format!("waiting until {what}: {observed:#}");
        if line != said || said_at.elapsed() > limits::STILL_WAITING {
            terminal.say(line.clone());
            (said, said_at) = (line, Instant::now());
        }
        sleep(limits::LOOK_EVERY).await;
    }
}
