//! Versions mixed: a node that holds the feature level back stands for one that cannot do more yet.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use prost::Message;
use rollcall_cluster_tests::{
    Api, Cli, Cluster, ClusterPlan, FORM_PATIENCE, HEAL_PATIENCE, Lab, Node, SPREAD_PATIENCE, call, propose,
    refusal, wait_until,
};
use rollcall_proto::{
    api::{GroupPolicy, InvokeRequest, SetGroupPolicyRequest},
    peer::{ProposeRequest, propose_response},
    storage::{Command, PackedBatch, command::Kind},
};
use tokio::task::JoinHandle;
use tonic::{Code, Status};

/// As a version from before there were levels.
const HELD: [&str; 2] = ["--max-feature-level", "0"];

/// Idempotent calls through one node, without a pause, that must all be answered.
struct Calls {
    stop: Arc<AtomicBool>,
    task: JoinHandle<anyhow::Result<u64>>,
}

impl Calls {
    fn through(api: Api, device: &str) -> Self {
        let (stop, device_id) = (Arc::new(AtomicBool::new(false)), device.to_owned());
        let told = stop.clone();
        let task = tokio::spawn(async move {
            let mut answered = 0;
            while !told.load(SeqCst) {
                let request_id = format!("{device_id}-{answered}");
                let request = InvokeRequest {
                    device_id: device_id.clone(),
                    request_id,
                    idempotent: true,
                    ..call("levels", "echo")
                };
                api.call(request).await.with_context(|| format!("after {answered} calls"))?;
                answered += 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Ok(answered)
        });
        Self { stop, task }
    }

    async fn were_all_answered(self) -> anyhow::Result<()> {
        self.stop.store(true, SeqCst);
        let answered = self.task.await??;
        ensure!(answered > 100, "only {answered} calls were made");
        Ok(())
    }
}

/// The level of the cluster, and those of its nodes in the order of their names, as a node sees them.
async fn seen(from: &Node) -> anyhow::Result<(u32, Vec<u32>)> {
    let nodes = from.api()?.nodes().await?.into_iter().map(|node| node.feature_level).collect();
    Ok((from.api()?.cluster().await?.feature_level, nodes))
}

async fn levels_are(cluster: &Cluster, level: u32, of_nodes: &[u32]) -> anyhow::Result<()> {
    wait_until(&format!("level {level} with nodes {of_nodes:?}"), HEAL_PATIENCE, async || {
        for node in cluster.running() {
            let seen = seen(&node).await?;
            ensure!(seen == (level, of_nodes.to_vec()), "{} sees {seen:?}", node.name);
        }
        Ok(())
    })
    .await
}

/// Devices come and go on every node, and are called through every node.
async fn works(cluster: &Cluster, when: &str) -> anyhow::Result<()> {
    for holder in cluster.running() {
        let name = format!("{when}-{}", holder.name);
        let device = Lab::new(&name, "levels").attach(&[holder.device_url()]).await?;
        cluster.caught_up(SPREAD_PATIENCE).await?;
        for through in cluster.running() {
            through.api()?.echo("levels", &name).await?;
        }
        device.shutdown().await;
    }
    Ok(())
}

/// What the leader says to a packed batch of a life that is over: it refuses to write it, or writes it and refuses it then.
async fn packed_batch(cluster: &Cluster) -> anyhow::Result<propose_response::Result> {
    let leader = cluster.leader(HEAL_PATIENCE).await?;
    let batch = PackedBatch { node_id: 1, incarnation: 1, number: 1, ..Default::default() };
    let encoded = Command { kind: Some(Kind::PackedBatch(batch)) }.encode_to_vec().into();
    propose(cluster, &leader, ProposeRequest { command: None, encoded }).await
}

/// An administrator hears what is in the way, whichever node was asked.
async fn policies_are_refused(through: &Node) -> anyhow::Result<()> {
    let policy = GroupPolicy {
        group: "levels".into(),
        default_timeout: Some(prost_types::Duration { seconds: 5, nanos: 0 }),
        ..GroupPolicy::default()
    };
    let request = SetGroupPolicyRequest { policy: Some(policy) };
    let answer = through.api()?.registry.set_group_policy(request).await;
    let refused = refusal(answer)?;
    ensure!(
        refused.code == Code::FailedPrecondition
            && refused.reason == "FEATURE_LEVEL_TOO_LOW"
            && refused.metadata.get("needed").is_some_and(|needed| needed == "1"),
        "{refused:?}"
    );
    Ok(())
}

async fn restart(cluster: &Cluster, node: &Node, flags: &[&str]) -> anyhow::Result<()> {
    ensure!(node.stop().await?.success(), "{} did not stop cleanly", node.name);
    node.start_with(flags)?;
    cluster.settled(FORM_PATIENCE).await
}

/// A node that must not take part stops, and says what to do.
async fn is_refused(node: &Node) -> anyhow::Result<()> {
    node.start_with(&HELD)?;
    let status = node.ended(HEAL_PATIENCE).await?;
    let said = node.output()?;
    ensure!(
        status.code() == Some(1) && said.contains("feature level 2") && said.contains("max_feature_level"),
        "{status}:\n{said}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_level_rises_once_every_node_allows_it_and_there_is_no_way_back() -> anyhow::Result<()> {
    let mut cluster = ClusterPlan::of(3).prepare().await?;
    let (one, two, old) = (cluster.node("n1")?, cluster.node("n2")?, cluster.node("n3")?);
    one.start()?;
    two.start()?;
    old.start_with(&HELD)?;
    cluster.settled(FORM_PATIENCE).await?;
    levels_are(&cluster, 0, &[2, 2, 0]).await?;
    let called = Lab::new("called", "levels").attach(&[one.device_url()]).await?;
    let calls = Calls::through(one.api()?, "called");
    works(&cluster, "mixed").await?;
    match packed_batch(&cluster).await {
        Err(error) => {
            let status = error.downcast_ref::<Status>().with_context(|| format!("{error:#}"))?;
            ensure!(status.code() == Code::FailedPrecondition, "{status:?}");
        }
        Ok(written) => bail!("what not all members read was written: {written:?}"),
    }

    policies_are_refused(&old).await?;

    // The way back is open: one that has been upgraded is taken back, and upgraded once more.
    restart(&cluster, &two, &HELD).await?;
    levels_are(&cluster, 0, &[2, 0, 0]).await?;
    works(&cluster, "back").await?;
    restart(&cluster, &two, &[]).await?;
    levels_are(&cluster, 0, &[2, 2, 0]).await?;

    restart(&cluster, &old, &[]).await?;
    levels_are(&cluster, 2, &[2, 2, 2]).await?;
    works(&cluster, "raised").await?;
    let written = packed_batch(&cluster).await?;
    ensure!(matches!(written, propose_response::Result::Rejected(_)), "{written:?}");
    calls.were_all_answered().await?;
    called.shutdown().await;
    wait_until("the metric shows it", SPREAD_PATIENCE, async || {
        let (_, metrics) = two.get("/metrics").await?;
        ensure!(metrics.contains("rollcall_feature_level 2"), "it does not");
        Ok(())
    })
    .await?;
    let status = ["cluster", "status", "--output", "json", "--addr", &two.api_url()];
    let shown = Cli::new().await?.run(&status).await?.json()?;
    ensure!(shown["feature_level"] == 2, "the command does not show it: {shown}");

    // From here on neither a member nor a newcomer comes in with less.
    ensure!(old.stop().await?.success(), "{} did not stop cleanly", old.name);
    is_refused(&old).await?;
    let newcomer = cluster.add_node()?;
    is_refused(&newcomer).await?;
    old.start()?;
    newcomer.start()?;
    cluster.settled(FORM_PATIENCE).await?;
    levels_are(&cluster, 2, &[2, 2, 2, 2]).await?;
    cluster.finish().await
}
