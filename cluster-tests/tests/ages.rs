//! Callers' connections have an age: they are ended and opened anew under load, and no call is lost by it.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use rollcall_cluster_tests::{
    Cluster, ClusterPlan, HEAL_PATIENCE, Lab, LabDevice, SPREAD_PATIENCE, call, python_with_grpc, wait_until,
};
use rollcall_proto::{
    api::{InvokeRequest, WatchDevicesRequest, registry_service_client::RegistryServiceClient},
    client::Client,
};
use tokio::{process::Command, task::JoinHandle};
use tonic::Code;

const CALLER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/caller.py");
/// So many connections end at each node before the callers stop.
const RENEWALS: u64 = 6;

async fn young() -> anyhow::Result<(Cluster, LabDevice)> {
    let cluster = ClusterPlan::of(3).flag("max-connection-age", "1s").start().await?;
    let device = Lab::new("aged", "aged").capacity(500).attach(&[cluster.nodes[0].device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    Ok((cluster, device))
}

/// A call that is not idempotent, so that nobody may send it twice, and lasts a moment.
fn short() -> InvokeRequest {
    InvokeRequest { payload: Bytes::from_static(b"20"), ..call("aged", "sleep") }
}

/// How many connections a node has ended because of their age.
async fn ended(node: &rollcall_cluster_tests::Node) -> anyhow::Result<u64> {
    let (_, page) = node.get("/metrics").await?;
    let series = "rollcall_connections_retired_total{listener=\"services\",end=\"closed\"}";
    let line = page.lines().find_map(|line| line.strip_prefix(series)).context("no such metric")?;
    Ok(line.trim().parse()?)
}

async fn renewed(cluster: &Cluster, more: u64) -> anyhow::Result<()> {
    for node in &cluster.nodes {
        let before = ended(node).await?;
        wait_until("connections are ended by their age", 2 * HEAL_PATIENCE, async || {
            let now = ended(node).await?;
            ensure!(now >= before + more, "{} of {more} at {}", now - before, node.name);
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Many callers at once, so that calls always wait for a connection that ends.
struct Callers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<anyhow::Result<usize>>>,
}

impl Callers {
    fn begin<F>(count: usize, one: impl Fn() -> F + Clone + Send + 'static) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send,
    {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..count).map(|_| {
            let (stop, one) = (Arc::clone(&stop), one.clone());
            tokio::spawn(async move {
                let mut calls = 0;
                while !stop.load(SeqCst) {
                    one().await.with_context(|| format!("after {calls} calls"))?;
                    calls += 1;
                }
                Ok(calls)
            })
        });
        Self { tasks: tasks.collect(), stop }
    }

    async fn end(self) -> anyhow::Result<usize> {
        self.stop.store(true, SeqCst);
        let calls = try_join_all(self.tasks).await?;
        calls.into_iter().sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_renewed_under_callers_in_rust_without_a_failed_call() -> anyhow::Result<()> {
    let (cluster, device) = young().await?;
    let client = Client::builder(cluster.nodes.iter().map(|node| node.api_url())).build()?;
    let streams = try_join_all((0..6).map(|_| client.stream(20))).await?;
    let single = client.clone();
    let single = Callers::begin(30, move || {
        let client = single.clone();
        async move { client.invoke(short()).await.map(drop).context("a call failed") }
    });
    let pipelined: Vec<_> = streams
        .into_iter()
        .map(|stream| {
            Callers::begin(10, move || {
                let stream = stream.clone();
                async move { stream.call(short()).await.map(drop).context("a call of a stream failed") }
            })
        })
        .collect();
    let renewed = renewed(&cluster, RENEWALS).await;
    let mut calls = single.end().await?;
    for callers in pipelined {
        calls += callers.end().await?;
    }
    renewed?;
    ensure!(device.started() == calls, "{} handlers for {calls} calls", device.started());
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_renewed_under_a_caller_in_python_without_a_failed_call() -> anyhow::Result<()> {
    let Some(python) = python_with_grpc().await else {
        println!("NOT RUN: no python with grpcio, grpcio-reflection and grpcio-status");
        return Ok(());
    };
    let (cluster, _device) = young().await?;
    let callers = cluster.nodes.iter().map(|node| {
        let url = node.api_url();
        let mut caller = Command::new(&python);
        caller.args([CALLER, url.trim_start_matches("http://"), "aged", "until-stopped"]);
        let caller = caller.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        caller.kill_on_drop(true).spawn()
    });
    let callers: Vec<_> = callers.collect::<Result<_, _>>()?;
    let renewed = renewed(&cluster, 3).await;
    for mut caller in callers {
        drop(caller.stdin.take());
        let ran = tokio::time::timeout(2 * HEAL_PATIENCE, caller.wait_with_output()).await??;
        let (said, complained) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        ensure!(ran.status.success(), "{said}\n{complained}");
        ensure!(said.contains(", 0 failed"), "{said}");
    }
    renewed?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_with_its_connection_and_says_why() -> anyhow::Result<()> {
    let (cluster, _device) = young().await?;
    let mut client = RegistryServiceClient::connect(cluster.nodes[1].api_url()).await?;
    let request = WatchDevicesRequest { group: "aged".into(), ..Default::default() };
    let mut changes = client.watch_devices(request).await?.into_inner();
    let end = async {
        loop {
            match changes.message().await {
                Ok(Some(_)) => {}
                Ok(None) => anyhow::bail!("it ended without a word"),
                Err(status) => return Ok(status),
            }
        }
    };
    let status = tokio::time::timeout(HEAL_PATIENCE, end).await.context("it goes on")??;
    ensure!(status.code() == Code::Unavailable && status.message().contains("age"), "{status:?}");
    cluster.finish().await
}
