//! `rollcall dev`: the first thing that a newcomer runs.

use anyhow::{Context, bail, ensure};
use rollcall_cluster_tests::{Cli, FORM_PATIENCE, STOP_PATIENCE, Scratch, wait_until};
use rustix::process::Signal;

#[tokio::test(flavor = "multi_thread")]
async fn the_check_shows_a_working_cluster_and_ends() -> anyhow::Result<()> {
    let ran = Cli::new().await?.run(&["dev", "--check"]).await?;
    ensure!(ran.code == Some(0), "{ran:?}");
    for part in ["leader", "voter", "demo-1", "n1 → n2 → demo-2", "n2 → n3 → demo-3", "n3 → n1 → demo-1"]
    {
        ensure!(ran.stdout.contains(part), "{part:?} is missing in:\n{}", ran.stdout);
    }
    ensure!(!ran.stdout.contains('\x1b'), "colours without a terminal:\n{}", ran.stdout);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_stays_up_tells_of_a_killed_node_and_stops_cleanly() -> anyhow::Result<()> {
    let scratch = Scratch::new("dev")?;
    let mut dev = Cli::new().await?.start("dev", &["dev".into()], &scratch)?;
    wait_until("dev has shown everything", FORM_PATIENCE, async || {
        ensure!(dev.output().contains("Ctrl-C stops everything"), "it said:\n{}", dev.output());
        Ok(())
    })
    .await?;
    let shown = dev.output();
    for part in ["invoke demo echo", "grpcurl -plaintext", "/metrics", "rollcall-agent", "kill -9"] {
        ensure!(shown.contains(part), "{part:?} is missing in:\n{shown}");
    }
    let command = shown.lines().find_map(|line| line.trim().strip_prefix("kill -9 ")).context("no pid")?;
    let pid = rustix::process::Pid::from_raw(command.parse()?).context("no pid")?;
    rustix::process::kill_process(pid, Signal::KILL)?;
    wait_until("dev tells that n2 ended and where its device is now", FORM_PATIENCE, async || {
        let said = dev.output();
        let told = said.split_once("has ended").context("it does not say that a node ended")?.1.to_owned();
        ensure!(told.contains("demo-2 is attached to"), "since then it said:\n{told}");
        Ok(())
    })
    .await?;
    dev.signal(Signal::INT)?;
    let status = dev.wait(STOP_PATIENCE).await?;
    ensure!(status.success(), "it ended with {status}:\n{}", dev.output());
    for line in shown.lines().filter(|line| line.contains("(pid ")) {
        for pid in line.split("(pid ").skip(1).filter_map(|rest| rest.split(')').next()?.parse().ok()) {
            let Some(pid) = rustix::process::Pid::from_raw(pid) else { bail!("no pid in {line}") };
            ensure!(rustix::process::test_kill_process(pid).is_err(), "process {pid:?} still runs");
        }
    }
    scratch.discard()
}
