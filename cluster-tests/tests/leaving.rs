//! Nodes that are asked to leave: drained by an operator, or let go in their turn, so that the others stay a quorum.

use std::{ffi::OsString, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use bytes::Bytes;
use rollcall_cluster_tests::{
    Cli, Cluster, ClusterPlan, HEAL_PATIENCE, Lab, Node, Process, Ran, SPREAD_PATIENCE, call, wait_until,
};
use rollcall_proto::api::{InvokeRequest, NodeState};

fn local(node: &Node) -> String {
    format!("{}:{}", node.addresses.host, node.addresses.http)
}

async fn prestop(cluster: &Cluster, node: &Node, give_up: &str) -> anyhow::Result<Process> {
    let name = format!("prestop-{}", node.name);
    let arguments = ["prestop", "--give-up-after", give_up, "--http-addr", &local(node)].map(OsString::from);
    Cli::new().await?.start(&name, &arguments, cluster.scratch())
}

async fn says(process: &Process, words: &str) -> anyhow::Result<()> {
    wait_until(&format!("it says {words:?}"), SPREAD_PATIENCE, async || {
        ensure!(process.output().contains(words), "{:?}", process.output());
        Ok(())
    })
    .await
}

async fn health(node: &Node, which: &str) -> anyhow::Result<Ran> {
    Cli::new().await?.run(&["health", which, "--http-addr", &local(node)]).await
}

async fn state_of(seen_by: &Node, node: &Node) -> anyhow::Result<NodeState> {
    let nodes = seen_by.api()?.nodes().await?;
    Ok(nodes.iter().find(|seen| seen.name == node.name).context("it is no member")?.state())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_drains_the_leader_and_its_call_is_let_finish() -> anyhow::Result<()> {
    let cluster = ClusterPlan::of(3).flag("drain-grace", "20s").start().await?;
    let (leader, other, _) = cluster.leader_and_two_others().await?;
    let device =
        Lab::new("mover", "movers").capacity(2).attach(&[leader.device_url(), other.device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let api = other.api()?;
    let long = InvokeRequest { payload: Bytes::from_static(b"2500"), ..call("movers", "sleep") };
    let running = tokio::spawn(async move { api.call(long).await });
    device.runs(1).await?;

    let drained = Cli::new().await?.run(&["drain", &leader.name, "--addr", &other.api_url()]).await?;
    ensure!(drained.code == Some(0), "{drained:?}");
    ensure!(drained.stdout.contains("drains: "), "it shows how far it is: {drained:?}");
    ensure!(
        drained.stdout.contains("has drained and stops (0 devices, 0 calls in flight left)"),
        "{drained:?}"
    );
    let status = leader.ended(HEAL_PATIENCE).await?;
    ensure!(status.success(), "it ended with {status}");
    ensure!(leader.output()?.contains("handed leadership over"), "it led until its end");
    running.await?.context("a call in flight is let finish")?;
    let answer = other.api()?.call(call("movers", "echo")).await?;
    ensure!(answer.node == other.name, "the device is at {}", answer.node);

    leader.start()?;
    cluster.settled(HEAL_PATIENCE).await?;
    drop(device);
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_would_cost_the_quorum_waits_and_can_be_undone() -> anyhow::Result<()> {
    let cluster = ClusterPlan::of(3).flag("drain-grace", "2s").start().await?;
    let (leader, asked, down) = cluster.leader_and_two_others().await?;
    down.kill9()?;
    wait_until("it is seen down", HEAL_PATIENCE, async || {
        ensure!(state_of(&leader, &down).await? == NodeState::Down);
        Ok(())
    })
    .await?;
    let cli = Cli::new().await?;
    let drain = ["drain", &asked.name, "--addr", &leader.api_url()].map(OsString::from);
    let mut waiting = cli.start("drain", &drain, cluster.scratch())?;
    says(&waiting, &format!("{} waits: {} is down", asked.name, down.name)).await?;
    ensure!(state_of(&leader, &asked).await? == NodeState::Up, "nothing has happened yet");
    ensure!(health(&asked, "--ready").await?.code == Some(0));
    // The operator gives up: that undoes it.
    waiting.kill();
    wait_until("the node knows that it may stay", SPREAD_PATIENCE, async || {
        ensure!(asked.output()?.contains("an operator gave up waiting"));
        Ok(())
    })
    .await?;

    let mut waiting = cli.start("drain-again", &drain, cluster.scratch())?;
    says(&waiting, "waits").await?;
    down.start()?;
    let status = waiting.wait(HEAL_PATIENCE).await?;
    ensure!(status.success(), "{}", waiting.output());
    ensure!(asked.ended(HEAL_PATIENCE).await?.success());
    asked.start()?;
    cluster.settled(HEAL_PATIENCE).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_that_are_to_stop_one_is_let_go() -> anyhow::Result<()> {
    let cluster = ClusterPlan::of(3).flag("drain-grace", "2s").start().await?;
    let (leader, one, two) = cluster.leader_and_two_others().await?;
    let mut asked = [
        (one.clone(), prestop(&cluster, &one, "2m").await?),
        (two.clone(), prestop(&cluster, &two, "2m").await?),
    ];
    let first = wait_until("one is let go", SPREAD_PATIENCE, async || {
        let at = asked.iter_mut().position(|(_, asking)| matches!(asking.ended(), Ok(Some(_))));
        at.context("neither")
    })
    .await?;
    let (gone, mut second) = match asked {
        [first_of_two, second_of_two] if first == 0 => (first_of_two.0, second_of_two),
        [first_of_two, second_of_two] => (second_of_two.0, first_of_two),
    };
    says(&second.1, "waiting: ").await?;
    ensure!(state_of(&leader, &gone).await? == NodeState::Draining, "the cluster knows");
    ensure!(
        health(&gone, "--ready").await?.code == Some(1) && health(&gone, "--live").await?.code == Some(0)
    );
    ensure!(gone.stop().await?.success());
    ensure!(
        second.1.ended()?.is_none(),
        "the second is let go while the first is down: {}",
        second.1.output()
    );
    ensure!(health(&gone, "--live").await?.code == Some(3), "nobody answers");

    gone.start()?;
    let status = second.1.wait(HEAL_PATIENCE).await?;
    ensure!(status.success(), "{}", second.1.output());
    ensure!(second.0.stop().await?.success());
    second.0.start()?;
    cluster.settled(HEAL_PATIENCE).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_in_vain_gives_up_and_both_sides_say_so() -> anyhow::Result<()> {
    let cluster = ClusterPlan::of(3).start().await?;
    let (_, asked, down) = cluster.leader_and_two_others().await?;
    down.kill9()?;
    let mut waiting = prestop(&cluster, &asked, "3s").await?;
    let status = waiting.wait(HEAL_PATIENCE).await?;
    ensure!(status.code() == Some(1), "{status}");
    ensure!(waiting.output().contains("gave up after 3s: "), "{}", waiting.output());
    ensure!(asked.output()?.contains("gave up waiting for its turn"), "the node's log says nothing");
    down.start()?;
    cluster.settled(HEAL_PATIENCE).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_the_node_that_is_down() -> anyhow::Result<()> {
    let cluster = ClusterPlan::of(3).start().await?;
    let (leader, _, down) = cluster.leader_and_two_others().await?;
    let cli = Cli::new().await?;
    let examined = async || cli.run(&["doctor", "--addr", &leader.api_url(), "--output", "json"]).await;
    let well: serde_json::Value = serde_json::from_str(&examined().await?.stdout)?;
    let nodes = well["nodes"].as_array().context("no nodes")?;
    ensure!(nodes.len() == 3, "{well}");
    for node in nodes {
        ensure!(node["ready"] == true && node["fsync_s"].as_f64() > Some(0.0), "{node}");
        ensure!(node["clock_ahead_s"].as_f64().is_some_and(|ahead| ahead.abs() < 1.0), "{node}");
        ensure!(
            node["lease_remaining_s"].as_f64() > Some(0.0) && node["open_files"].as_u64() > Some(0),
            "{node}"
        );
        ensure!(node["names"].as_array().is_some_and(|names| !names.is_empty()), "{node}");
    }
    down.kill9()?;
    wait_until("the doctor sees it", HEAL_PATIENCE, async || {
        let ran = examined().await?;
        ensure!(ran.code == Some(1), "{ran:?}");
        let found: serde_json::Value = serde_json::from_str(&ran.stdout)?;
        let findings = found["findings"].as_array().context("no findings")?;
        let about = |name: &str| {
            findings.iter().any(|finding| finding["about"] == name && finding["severity"] == "BAD")
        };
        ensure!(about(&down.name) && about("cluster"), "{found}");
        Ok(())
    })
    .await?;
    let table = cli.run(&["doctor", "--addr", &leader.api_url()]).await?;
    ensure!(table.stdout.contains("cannot be asked") && table.stdout.contains("WHAT TO DO"), "{table:?}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_logged_changes_while_nodes_run() -> anyhow::Result<()> {
    let scratch = rollcall_cluster_tests::Scratch::new("reload")?;
    let file = scratch.path().join("rollcall.toml");
    std::fs::write(&file, "log_level = \"warn\"\n")?;
    let cluster = ClusterPlan::of(1).flag("config", &file.display().to_string()).start().await?;
    let node: Arc<Node> = cluster.node("n1")?;
    let cli = Cli::new().await?;
    let addr = node.api_url();
    let level = async |arguments: &[&str]| {
        let all = [&["log", "level"], arguments, &["--addr", &addr, "--output", "json"]].concat();
        anyhow::Ok(cli.run(&all).await?.json()?["filter"].clone())
    };
    ensure!(level(&[]).await? == "warn");
    ensure!(level(&["info,rollcall_router=debug", "--node", "n1"]).await? == "info,rollcall_router=debug");
    ensure!(node.output()?.contains("changed by an operator"), "at info it says so");
    let wrong = cli.run(&["log", "level", "rollcall=loud", "--addr", &node.api_url()]).await?;
    ensure!(wrong.code == Some(1) && wrong.stderr.contains("INVALID_ARGUMENT"), "{wrong:?}");

    std::fs::write(&file, "log_level = \"info\"\ndrain_grace = \"7s\"\n")?;
    let pid = rustix::process::Pid::from_raw(i32::try_from(node.pid()?)?).context("a process id")?;
    rustix::process::kill_process(pid, rustix::process::Signal::HUP)?;
    wait_until("the settings are read again", SPREAD_PATIENCE, async || {
        ensure!(node.output()?.contains("need_restart=\"drain_grace\""), "{}", node.output()?);
        Ok(())
    })
    .await?;
    ensure!(level(&[]).await? == "info");
    std::fs::write(&file, "log_level = \"info\"\nno_such_setting = 1\n")?;
    rustix::process::kill_process(pid, rustix::process::Signal::HUP)?;
    wait_until("wrong settings are refused", Duration::from_secs(10), async || {
        ensure!(node.output()?.contains("the settings were not read again"));
        Ok(())
    })
    .await?;
    cluster.finish().await?;
    scratch.discard()
}
