//! The accounts of calls while nodes are killed: none runs twice, no failure lies about it, none is lost.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, ensure};
use rollcall_agent::{Agent, AgentHandle, AgentState, Call, HandlerError, Reply};
use rollcall_cluster_tests::{Cluster, HEAL_PATIENCE, SPREAD_PATIENCE, call, wait_until};
use rollcall_proto::{
    api::{InvokeRequest, InvokeResponse, Outcome},
    client::{CallError, Client},
};
use tokio::{sync::watch, task::JoinSet};

/// How often each request id was executed.
#[derive(Debug, Clone, Default)]
struct Executions(Arc<Mutex<HashMap<String, u32>>>);

impl Executions {
    fn begin(&self, request_id: &str) {
        let mut executions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *executions.entry(request_id.to_owned()).or_default() += 1;
    }

    fn of(&self, request_id: &str) -> u32 {
        let executions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        executions.get(request_id).copied().unwrap_or_default()
    }
}

/// A device whose handler notes its executions before it does anything else.
fn device(name: &str, servers: Vec<String>, executions: &Executions) -> AgentHandle {
    let executions = executions.clone();
    let agent = Agent::builder(servers).in_order().device(name.to_owned()).capacity(32).group("noted");
    let handler = move |call: Call| {
        executions.begin(&call.request_id);
        async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok::<_, HandlerError>(Reply::from(call.payload))
        }
    };
    agent.action("note", handler).start()
}

type Ended = (String, Result<InvokeResponse, CallError>);

/// Calls one after the other until told to stop; gives all of them, with their ends.
async fn caller(client: Client, name: String, mut stop: watch::Receiver<bool>) -> Vec<Ended> {
    let mut ended = Vec::new();
    while !*stop.borrow_and_update() {
        let request_id = format!("{name}-{}", ended.len());
        let timeout = Duration::from_secs(3).try_into().ok();
        let request = InvokeRequest { request_id: request_id.clone(), timeout, ..call("noted", "note") };
        let result = client.invoke(request).await;
        ended.push((request_id, result));
    }
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nodes_are_killed_no_call_runs_twice_and_no_failure_lies() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let executions = Executions::default();
    let mut devices = Vec::new();
    for (number, node) in cluster.nodes.iter().enumerate() {
        let mut servers = cluster.device_urls();
        servers.rotate_left(number);
        devices.push(device(&format!("noted-{}", node.name), servers, &executions));
    }
    for device in &devices {
        wait_until("a device is attached", SPREAD_PATIENCE, async || {
            let state = device.state().borrow().clone();
            ensure!(matches!(state, AgentState::Attached { .. }), "{state:?}");
            Ok(())
        })
        .await?;
    }
    cluster.caught_up(SPREAD_PATIENCE).await?;

    let client = Client::builder(cluster.nodes.iter().map(|node| node.api_url())).build()?;
    let (stop, stopped) = watch::channel(false);
    let mut callers = JoinSet::new();
    for number in 0..12 {
        callers.spawn(caller(client.clone(), format!("call-{number}"), stopped.clone()));
    }
    for name in ["n1", "n2"] {
        let node = cluster.node(name)?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        node.kill9()?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        node.start()?;
        cluster.settled(HEAL_PATIENCE).await?;
    }
    stop.send(true).context("the callers are gone")?;
    let ended: Vec<Ended> = callers.join_all().await.into_iter().flatten().collect();

    let mut counts: HashMap<String, u32> = HashMap::new();
    for (request_id, result) in &ended {
        let executed = executions.of(request_id);
        let said = match result {
            Ok(_) => "answered".to_owned(),
            Err(error) => format!("{} {}", error.outcome.as_str_name(), error.reason_name),
        };
        ensure!(executed <= 1, "{request_id} ran {executed} times: {result:?}");
        match result {
            Ok(_) => ensure!(executed == 1, "{request_id} was answered and never ran"),
            Err(error) if error.outcome == Outcome::NotExecuted => {
                ensure!(executed == 0, "{request_id} ran, and is said not to have: {error}");
            }
            Err(error) if error.outcome == Outcome::Executed => {
                ensure!(executed == 1, "{request_id} is said to have run, and did not: {error}");
            }
            Err(_) => {}
        }
        *counts.entry(said).or_default() += 1;
    }
    println!("{} calls: {counts:?}", ended.len());
    let answered = counts.get("answered").copied().unwrap_or_default() as usize;
    ensure!(answered > ended.len() / 2, "of {} calls only {answered} were answered: {counts:?}", ended.len());
    ensure!(counts.values().sum::<u32>() as usize == ended.len(), "{counts:?}");
    wait_until("no call is in flight", SPREAD_PATIENCE, async || {
        for node in &cluster.nodes {
            let (_, metrics) = node.get("/metrics").await?;
            let in_flight = metrics.lines().find_map(|line| line.strip_prefix("rollcall_calls_in_flight "));
            ensure!(in_flight.is_none_or(|calls| calls == "0"), "{} has {in_flight:?}", node.name);
        }
        Ok(())
    })
    .await?;
    cluster.finish().await
}
