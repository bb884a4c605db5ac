//! Broadcasts through real nodes: every device of a group once, honest counts, and the command that people use.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use rollcall_cluster_tests::{
    Cli, ClusterPlan, Lab, LabDevice, Node, SPREAD_PATIENCE, SharedCluster, Visit, refusal, wait_until,
};
use rollcall_proto::{
    api::{BroadcastRequest, BroadcastSummary, InvokeResponse, Outcome, Reason},
    client::{BroadcastItem, CallError, Client},
};
use tokio::time::timeout;
use tonic::Code;

static CLUSTER: SharedCluster = SharedCluster::new(|| ClusterPlan::of(3));

fn to_group(group: &str, action: &str, payload: &str) -> BroadcastRequest {
    let payload = Bytes::from(payload.to_owned());
    BroadcastRequest { group: group.into(), action: action.into(), payload, ..Default::default() }
}

/// So many devices on each node, `<group>-n1-1` and so on; every node has seen them all.
async fn devices_on_each_node(cluster: &Visit<'_>, group: &str, each: u32) -> anyhow::Result<Vec<LabDevice>> {
    let mut devices = Vec::new();
    for node in &cluster.nodes {
        for number in 1..=each {
            let lab = Lab::new(&format!("{group}-{}-{number}", node.name), group);
            devices.push(lab.attach(&[node.device_url()]).await?);
        }
    }
    cluster.caught_up(SPREAD_PATIENCE).await?;
    Ok(devices)
}

type Results = BTreeMap<String, Result<InvokeResponse, CallError>>;

/// All of a broadcast; the summary's counts must be those of the results.
async fn broadcast(node: &Node, request: BroadcastRequest) -> anyhow::Result<(Results, BroadcastSummary)> {
    let client = Client::builder([node.api_url()]).build()?;
    let mut answers = client.broadcast(request).await?;
    let mut results = Results::new();
    loop {
        let item = timeout(SPREAD_PATIENCE, answers.next()).await.context("nothing comes")??;
        match item.context("it ended without a summary")? {
            BroadcastItem::Result { device_id, result } => {
                ensure!(results.insert(device_id.clone(), result).is_none(), "{device_id} has two results");
            }
            BroadcastItem::Summary(summary) => {
                ensure!(answers.next().await?.is_none(), "something follows the summary");
                let [mut answered, mut by_outcome] = [[0; 4], [0; 4]];
                for result in results.values() {
                    match result {
                        Ok(_) => answered[0] += 1,
                        Err(error) => by_outcome[error.outcome as usize] += 1,
                    }
                }
                let counts = [summary.not_executed, summary.unknown, summary.executed];
                ensure!(summary.answered == answered[0] && counts == by_outcome[1..], "{summary:?}");
                ensure!(summary.targets == results.len() as u64, "{summary:?}, {} results", results.len());
                ensure!(answers.start().targets == summary.targets, "{:?}", answers.start());
                return Ok((results, summary));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_device_of_the_group_is_called_once_through_whichever_node() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let devices = devices_on_each_node(&cluster, "all", 10).await?;
    let _other = Lab::new("not-of-it", "others").attach(&[cluster.nodes[0].device_url()]).await?;
    for (round, through) in (1..).zip(&cluster.nodes) {
        let (results, summary) = broadcast(through, to_group("all", "echo", "hello")).await?;
        ensure!(summary.answered == 30 && results.len() == 30, "{summary:?}");
        for (device, result) in results {
            let answer = result?;
            ensure!(answer.device_id == device && answer.payload == "hello", "{answer:?}");
            ensure!(device.contains(&answer.node), "{device} is said to be held by {}", answer.node);
        }
        ensure!(devices.iter().all(|device| device.started() == round), "a handler ran twice, or not at all");
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_has_its_own_outcome() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let _devices = devices_on_each_node(&cluster, "mixed", 2).await?;
    let (results, summary) = broadcast(&cluster.nodes[0], to_group("mixed", "fail", "out of paper")).await?;
    ensure!(summary.executed == 6 && summary.reasons.get("DEVICE_ERROR") == Some(&6), "{summary:?}");
    for (device, result) in results {
        let error = result.err().context("it should fail")?;
        ensure!(error.reason == Reason::DeviceError && error.outcome == Outcome::Executed, "{error:?}");
        ensure!(
            error.device_id.as_deref() == Some(device.as_str()) && error.message.contains("out of paper"),
            "{error:?}"
        );
    }
    let (_, summary) = broadcast(&cluster.nodes[1], to_group("mixed", "dance", "")).await?;
    ensure!(summary.not_executed == 6 && summary.reasons.get("ACTION_UNKNOWN") == Some(&6), "{summary:?}");
    let slow = BroadcastRequest {
        device_timeout: Some(prost_types::Duration { seconds: 0, nanos: 300_000_000 }),
        ..to_group("mixed", "sleep", "60000")
    };
    let (_, summary) = broadcast(&cluster.nodes[2], slow).await?;
    ensure!(summary.unknown == 6 && summary.reasons.get("DEADLINE") == Some(&6), "{summary:?}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_and_malformed_requests_are_refused_as_calls_are() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let mut api = cluster.nodes[0].api()?.invoke;
    let nobody = refusal(api.broadcast(to_group("nobody", "echo", "")).await)?;
    ensure!(nobody.brief() == (Code::FailedPrecondition, "NO_DEVICE", "NOT_EXECUTED"), "{nobody:?}");
    for wrong in [to_group("", "echo", ""), to_group("g", "", "")] {
        let refused = refusal(api.broadcast(wrong).await)?;
        ensure!(
            refused.brief() == (Code::InvalidArgument, "INVALID_ARGUMENT", "NOT_EXECUTED"),
            "{refused:?}"
        );
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_stops_the_handlers_and_nothing_more_is_sent() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let devices = devices_on_each_node(&cluster, "stopped", 4).await?;
    let client = Client::builder([cluster.nodes[0].api_url()]).build()?;
    let request = BroadcastRequest { in_flight: 5, ..to_group("stopped", "sleep", "60000") };
    let answers = client.broadcast(request).await?;
    let running = |wanted: usize| {
        let devices = &devices;
        async move || {
            let running: usize = devices.iter().map(LabDevice::running).sum();
            ensure!(running == wanted, "{running} handlers run");
            anyhow::Ok(())
        }
    };
    wait_until("five handlers run", SPREAD_PATIENCE, running(5)).await?;
    drop(answers);
    wait_until("no handler runs", SPREAD_PATIENCE, running(0)).await?;
    let started: usize = devices.iter().map(LabDevice::started).sum();
    ensure!(started == 5, "{started} handlers started");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_is_kept() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let _devices = devices_on_each_node(&cluster, "paced", 4).await?;
    let request = BroadcastRequest { rate_per_second: 20, ..to_group("paced", "echo", "") };
    let (_, summary) = broadcast(&cluster.nodes[0], request).await?;
    let total = Duration::try_from(summary.total.context("no total")?)?;
    // Eleven pauses of 50 ms, less the 10 ms that may be made up for.
    ensure!(summary.answered == 12 && total >= Duration::from_millis(540), "{summary:?}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_every_answer_and_the_sum() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let _devices = devices_on_each_node(&cluster, "shown", 2).await?;
    let (cli, addr) = (Cli::new().await?, cluster.nodes[1].api_url());
    let table = cli.run(&["broadcast", "shown", "echo", "hello", "--addr", &addr]).await?;
    ensure!(table.code == Some(0) && table.stdout.lines().count() == 7, "{table:?}");
    ensure!(table.stdout.contains("ANSWERED") && table.stdout.contains("hello"), "{table:?}");
    ensure!(table.stderr.contains("6 devices: 6 answered"), "{table:?}");

    let json = cli.run(&["broadcast", "shown", "fail", "no", "--addr", &addr, "--output", "json"]).await?;
    ensure!(json.code == Some(1), "not every device answered: {json:?}");
    let lines: Vec<serde_json::Value> =
        json.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let Some((summary, results)) = lines.split_last() else { bail!("it printed nothing") };
    ensure!(results.len() == 6 && results.iter().all(|one| one["reason"] == "DEVICE_ERROR"), "{results:?}");
    ensure!(summary["summary"]["executed"] == 6 && summary["summary"]["targets"] == 6, "{summary}");

    let nobody = cli.run(&["broadcast", "nobody", "echo", "--addr", &addr]).await?;
    ensure!(nobody.code == Some(1) && nobody.stderr.contains("NO_DEVICE"), "{nobody:?}");
    let unreachable = cli.run(&["broadcast", "shown", "echo", "--addr", "http://127.0.0.1:9"]).await?;
    ensure!(unreachable.code == Some(3) && unreachable.stderr.contains("127.0.0.1:9"), "{unreachable:?}");
    cluster.finish().await
}
