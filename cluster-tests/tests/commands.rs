//! The commands, as people and scripts use them.

use anyhow::ensure;
use rollcall_cluster_tests::{Cli, ClusterPlan, Lab, SPREAD_PATIENCE, Scratch, SharedCluster};

static CLUSTER: SharedCluster = SharedCluster::new(|| ClusterPlan::of(3));

#[tokio::test(flavor = "multi_thread")]
async fn invoke_prints_the_answer() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let _device = Lab::new("cli", "cli").attach(&[cluster.nodes[0].device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let (cli, addr) = (Cli::new().await?, cluster.nodes[1].api_url());

    let plain = cli.run(&["invoke", "cli", "echo", "hello", "--addr", &addr]).await?;
    ensure!(plain.code == Some(0) && plain.stdout.trim_end() == "hello", "{plain:?}");
    let stdin = cli.run_with_input(&["invoke", "cli", "echo", "-", "--addr", &addr], "from stdin").await?;
    ensure!(stdin.stdout.trim_end() == "from stdin", "{stdin:?}");
    let json = ["invoke", "cli", "echo", "hello", "--device", "cli", "--addr", &addr, "--output", "json"];
    let answer = cli.run(&json).await?.json()?;
    ensure!(answer["device_id"] == "cli" && answer["node"] == "n1" && answer["attempts"] == 1, "{answer}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn invoke_reads_a_file_and_writes_bytes_untouched() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let _device = Lab::new("file", "file").attach(&[cluster.nodes[0].device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let scratch = Scratch::new("payload")?;
    let path = scratch.path().join("payload");
    let text = "half a megabyte\n".repeat(32 * 1024);
    std::fs::write(&path, &text)?;
    let file = format!("@{}", path.display());
    let answer = Cli::new()
        .await?
        .run(&["invoke", "file", "echo", &file, "--addr", &cluster.nodes[2].api_url()])
        .await?;
    ensure!(answer.stdout == text, "{} bytes came back", answer.stdout.len());
    scratch.discard()?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_said_on_stderr_with_a_code_for_scripts() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let (cli, addr) = (Cli::new().await?, cluster.nodes[0].api_url());
    let nobody = cli.run(&["invoke", "nobody", "echo", "--addr", &addr]).await?;
    ensure!(nobody.code == Some(1) && nobody.stderr.contains("NO_DEVICE"), "{nobody:?}");
    ensure!(nobody.stdout.is_empty(), "{nobody:?}");
    let wrong = cli.run(&["invoke", "nobody", "--no-such-flag"]).await?;
    ensure!(wrong.code == Some(2) && wrong.stderr.contains("--no-such-flag"), "{wrong:?}");
    let unreachable = cli.run(&["cluster", "status", "--addr", "http://127.0.0.1:9"]).await?;
    ensure!(unreachable.code == Some(3) && unreachable.stderr.contains("127.0.0.1:9"), "{unreachable:?}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_around_works_for_people_and_programs() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let _device = Lab::new("seen", "looked-at").attach(&[cluster.nodes[2].device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let (cli, addr) = (Cli::new().await?, cluster.nodes[0].api_url());
    let json = async |arguments: &[&str]| {
        cli.run(&[arguments, &["--addr", &addr, "--output", "json"]].concat()).await?.json()
    };

    let devices = json(&["devices", "list", "--group", "looked-at"]).await?;
    ensure!(devices["devices"][0]["device_id"] == "seen", "{devices}");
    let device = json(&["devices", "get", "seen"]).await?;
    ensure!(device["session"]["node"] == "n3", "{device}");
    let nodes = json(&["nodes", "list"]).await?;
    ensure!(nodes["nodes"].as_array().is_some_and(|nodes| nodes.len() == 3), "{nodes}");
    let status = json(&["cluster", "status"]).await?;
    ensure!(status["voters"] == 3 && status["failure_tolerance"] == 1, "{status}");
    let route = json(&["route", "explain", "seen", "--from", "n2"]).await?;
    ensure!(route["reachable"] == true && route["from"] == "n2", "{route}");

    for arguments in [["devices", "list"], ["nodes", "list"], ["cluster", "status"]] {
        let table = cli.run(&[&arguments[..], &["--addr", &addr]].concat()).await?;
        ensure!(
            table.code == Some(0) && table.stdout.contains("n3") || table.stdout.contains("n1"),
            "{table:?}"
        );
    }
    cluster.finish().await
}
