//! Backups: saved under load, restored beside the cluster that they come from, and recovery when a quorum is lost.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use rollcall_cluster_tests::{
    Api, Cli, Cluster, ClusterPlan, FORM_PATIENCE, HEAL_PATIENCE, Lab, LabDevice, Node, Ran, SPREAD_PATIENCE,
    Scratch, wait_until,
};
use serde_json::Value;

const GROUP: &str = "backed-up";

fn device_name(number: usize) -> String {
    format!("device-{number}")
}

async fn attach_all(cluster: &Cluster, devices: usize) -> anyhow::Result<Vec<LabDevice>> {
    let servers: Vec<_> = cluster.running().iter().map(|node| node.device_url()).collect();
    let attach = |number: usize| {
        let server = servers[number % servers.len()].clone();
        async move { Lab::new(&device_name(number), GROUP).label("site", "hz1").attach(&[server]).await }
    };
    try_join_all((0..devices).map(attach)).await
}

async fn detach_all(devices: Vec<LabDevice>) {
    for device in devices {
        device.shutdown().await;
    }
}

/// The epochs of sessions as a node has them.
async fn epochs(api: &Api, devices: usize) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut epochs = BTreeMap::new();
    for number in 0..devices {
        let name = device_name(number);
        let session = api.device(&name).await?.session.with_context(|| format!("{name} is not connected"))?;
        epochs.insert(name, session.epoch);
    }
    Ok(epochs)
}

async fn save(cli: &Cli, node: &Node, file: &Path) -> anyhow::Result<Value> {
    let file = file.display().to_string();
    cli.run(&["snapshot", "save", &file, "--addr", &node.api_url(), "--output", "json"]).await?.json()
}

/// Restores into the folder that a node of this plan will have.
async fn restore(cli: &Cli, backup: &Path, data_dir: &Path, name: &str) -> anyhow::Result<Ran> {
    let (backup, data_dir) = (backup.display().to_string(), data_dir.display().to_string());
    let arguments =
        ["snapshot", "restore", &backup, "--data-dir", &data_dir, "--name", name, "--output", "json"];
    cli.run(&arguments).await
}

/// Devices that come and go until it is told to stop; says how often.
async fn churn(servers: &[String], stop: &AtomicBool) -> anyhow::Result<usize> {
    let mut rounds = 0;
    while !stop.load(Relaxed) {
        Lab::new(&format!("churning-{}", rounds % 7), "churning").attach(servers).await?.shutdown().await;
        rounds += 1;
    }
    Ok(rounds)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_saved_under_load_becomes_a_cluster_of_its_own_beside_the_old_one() -> anyhow::Result<()> {
    const DEVICES: usize = 12;
    let old = Cluster::start(3).await?;
    let cli = Cli::new().await?;
    let scratch = Scratch::new("backup")?;
    let file = scratch.path().join("registry.backup");
    let devices = attach_all(&old, DEVICES).await?;

    // From a follower, while sessions open and close.
    let (_, follower, other) = old.leader_and_two_others().await?;
    let before = old.nodes[0].api()?.cluster().await?;
    let (servers, stop) = ([other.device_url()], AtomicBool::new(false));
    let saving = async {
        let both = (save(&cli, &follower, &file).await?, save(&cli, &follower, &file).await?);
        stop.store(true, Relaxed);
        Ok(both)
    };
    let (rounds, (saved, again)) = tokio::try_join!(churn(&servers, &stop), saving)?;
    ensure!(rounds > 0, "nothing churned");
    ensure!(again["index"].as_u64() >= saved["index"].as_u64(), "{saved} then {again}");
    ensure!(saved["cluster_id"] == before.cluster_id && saved["saved_by"] == follower.name, "{saved}");
    ensure!(saved["index"].as_u64() >= Some(before.applied_index), "it lacks what was acknowledged: {saved}");
    ensure!(saved["sessions"].as_u64() >= Some(DEVICES as u64), "{saved}");
    ensure!(saved["voters"].as_array().is_some_and(|voters| voters.len() == 3), "{saved}");
    let inspected =
        cli.run(&["snapshot", "inspect", &file.display().to_string(), "--output", "json"]).await?;
    ensure!(inspected.json()? == again, "{inspected:?} is not {again}");
    let leftovers = std::fs::read_dir(scratch.path())?.count();
    ensure!(leftovers == 1, "{leftovers} files were left where one was saved");
    let given = epochs(&old.nodes[0].api()?, DEVICES).await?;

    // Restored beside it, while it goes on; with the old cluster's node names, as one would.
    let mut new = ClusterPlan::of(1).beside_another().prepare().await?;
    let founder = new.node("n1")?;
    let restored = restore(&cli, &file, &founder.data_dir, "n1").await?.json()?;
    ensure!(restored["cluster_id"] != before.cluster_id, "{restored}");
    ensure!(restored["node_id"].as_u64() > Some(3), "a node id is given again: {restored}");
    founder.start()?;
    new.settled(FORM_PATIENCE).await?;
    let api = founder.api()?;
    let cluster = api.cluster().await?;
    ensure!(restored["cluster_id"] == cluster.cluster_id, "{cluster:?}");
    ensure!(again["devices"] == cluster.devices && cluster.sessions == 0, "{again} became {cluster:?}");
    for number in 0..DEVICES {
        let device = api.device(&device_name(number)).await?;
        ensure!(device.groups == [GROUP] && device.labels["site"] == "hz1", "{device:?}");
        ensure!(device.session.is_none(), "{device:?} has a session nobody opened here");
    }

    // Others join it with empty folders.
    for _ in 0..2 {
        new.add_node()?.start()?;
    }
    new.settled(FORM_PATIENCE).await?;
    wait_until("all three vote", HEAL_PATIENCE, async || {
        let cluster = api.cluster().await?;
        ensure!(cluster.voters == 3, "{cluster:?}");
        Ok(())
    })
    .await?;
    let nodes = new.nodes[2].api()?.nodes().await?;
    ensure!(nodes.iter().all(|node| node.node_id > 3), "a node id is given again: {nodes:?}");

    // A node of the old cluster that is sent here with its folder is refused, and changes nothing.
    let lost = old.node(&other.name)?;
    lost.kill9()?;
    let refused = run_with_join(&cli, &lost, &founder.peer_addr()).await?;
    ensure!(refused.code == Some(1), "{refused:?}");
    ensure!(refused.stderr.contains(&cluster.cluster_id), "{refused:?}");
    ensure!(founder.api()?.nodes().await?.len() == 3, "the stranger was taken in");
    lost.start()?;
    old.settled(HEAL_PATIENCE).await?;

    // Devices that come to the new cluster get epochs above all that the old one gave; the old one goes on.
    detach_all(devices).await;
    let devices = attach_all(&new, DEVICES).await?;
    new.caught_up(SPREAD_PATIENCE).await?;
    for (name, epoch) in epochs(&new.nodes[1].api()?, DEVICES).await? {
        ensure!(epoch > given[&name], "{name} got {epoch} after {}", given[&name]);
        new.nodes[2].api()?.echo(GROUP, &name).await?;
    }
    let still = old.nodes[0].api()?.cluster().await?;
    ensure!(still.cluster_id == before.cluster_id && still.term >= before.term, "{still:?}");
    let _late = Lab::new("late", "old").attach(&[old.nodes[0].device_url()]).await?;
    old.caught_up(SPREAD_PATIENCE).await?;
    old.nodes[1].api()?.echo("old", "late").await?;
    ensure!(
        new.nodes[0].api()?.device("late").await.is_err(),
        "a device of the old cluster is known in the new one"
    );

    detach_all(devices).await;
    scratch.discard()?;
    new.finish().await?;
    old.finish().await
}

/// Starts a node on its folder with another join list, and waits for it to give up.
async fn run_with_join(cli: &Cli, node: &Node, join: &str) -> anyhow::Result<Ran> {
    let mut arguments: Vec<String> =
        node.arguments().iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    for (flag, value) in [("--join", join), ("--bootstrap-expect", "0")] {
        if let Some(at) = arguments.iter().position(|argument| argument == flag) {
            arguments[at + 1] = value.to_owned();
        }
    }
    cli.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_refuses_what_it_must_not_touch() -> anyhow::Result<()> {
    let cluster = Cluster::start(1).await?;
    let cli = Cli::new().await?;
    let scratch = Scratch::new("backup")?;
    let file = scratch.path().join("registry.backup");
    let devices = attach_all(&cluster, 3).await?;
    save(&cli, &cluster.nodes[0], &file).await?;

    let running = restore(&cli, &file, &cluster.nodes[0].data_dir, "n1").await?;
    ensure!(running.code == Some(1) && running.stderr.contains("in use by another process"), "{running:?}");
    let full = scratch.folder("full")?;
    std::fs::write(full.join("notes"), "mine")?;
    let not_empty = restore(&cli, &file, &full, "n1").await?;
    ensure!(not_empty.code == Some(1) && not_empty.stderr.contains("is not empty"), "{not_empty:?}");

    // A byte in the middle, and a cut end.
    let good = std::fs::read(&file)?;
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for (name, bytes) in [("flipped", &flipped[..]), ("cut", &good[..good.len() - 1]), ("empty", &[])] {
        let damaged = scratch.path().join(name);
        std::fs::write(&damaged, bytes)?;
        let inspected = cli.run(&["snapshot", "inspect", &damaged.display().to_string()]).await?;
        ensure!(
            inspected.code == Some(4) && inspected.stderr.contains("is damaged"),
            "{name}: {inspected:?}"
        );
        let folder = scratch.path().join(format!("from-{name}"));
        let refused = restore(&cli, &damaged, &folder, "n1").await?;
        ensure!(refused.code == Some(4), "{name}: {refused:?}");
        ensure!(!folder.exists(), "{name}: something was made of a damaged backup");
    }
    detach_all(devices).await;
    scratch.discard()?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_survivor_of_a_lost_quorum_becomes_a_cluster_that_others_join_anew() -> anyhow::Result<()> {
    const DEVICES: usize = 6;
    let cluster = Cluster::start(3).await?;
    let cli = Cli::new().await?;
    let scratch = Scratch::new("recovery")?;
    let devices = attach_all(&cluster, DEVICES).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    let given = epochs(&cluster.nodes[0].api()?, DEVICES).await?;
    let before = cluster.nodes[0].api()?.cluster().await?;
    detach_all(devices).await;

    let survivor = cluster.node("n2")?;
    let folder = survivor.data_dir.display().to_string();
    let recover = |more: &[&'static str]| {
        let mut arguments = vec!["cluster", "recover", "--unsafe", "--data-dir", &folder, "--output", "json"];
        arguments.extend(more);
        arguments.into_iter().map(String::from).collect::<Vec<_>>()
    };
    let running = ask(&cli, &recover(&["--yes"]), "").await?;
    ensure!(running.code == Some(1) && running.stderr.contains("in use by another process"), "{running:?}");

    // Two of three are gone for good. A linearizable backup cannot be made any more, a stale one can.
    for name in ["n1", "n3"] {
        cluster.node(name)?.kill9()?;
    }
    let file = scratch.path().join("last.backup").display().to_string();
    let addr = survivor.api_url();
    wait_until("the survivor has no quorum", HEAL_PATIENCE, async || {
        let saved = cli.run(&["snapshot", "save", &file, "--addr", &addr]).await?;
        ensure!(saved.code == Some(1) && saved.stderr.contains("NO_LEADER"), "{saved:?}");
        Ok(())
    })
    .await?;
    let stale = cli.run(&["snapshot", "save", &file, "--addr", &addr, "--stale", "--output", "json"]).await?;
    ensure!(stale.json()?["devices"] == DEVICES, "{stale:?}");
    survivor.kill9()?;

    let unasked = ask(&cli, &recover(&[])[..], "no\n").await?;
    ensure!(unasked.code == Some(1) && unasked.stderr.contains("nothing was changed"), "{unasked:?}");
    for told in ["n1, n3", "last log entry", "committed", &before.cluster_id] {
        ensure!(unasked.stderr.contains(told), "it does not say {told:?}: {unasked:?}");
    }
    let recovered = ask(&cli, &recover(&[]), "yes\n").await?.json()?;
    ensure!(recovered["cluster_id"] != before.cluster_id && recovered["devices"] == DEVICES, "{recovered}");
    ensure!(recovered["node_id"].as_u64() > Some(3), "a node id is given again: {recovered}");
    let archive = PathBuf::from(recovered["archive"].as_str().context("no archive")?);
    ensure!(archive.join("log").is_dir() && archive.join("identity").is_file(), "nothing is in {archive:?}");

    survivor.start()?;
    let api = survivor.api()?;
    wait_until("the survivor leads", FORM_PATIENCE, async || {
        let cluster = api.cluster().await?;
        ensure!(cluster.has_quorum && cluster.leader == "n2" && cluster.voters == 1, "{cluster:?}");
        Ok(())
    })
    .await?;
    ensure!(api.cluster().await?.sessions == 0, "sessions outlived their cluster");
    let devices = {
        let servers = [survivor.device_url()];
        try_join_all((0..DEVICES).map(|number| Lab::new(&device_name(number), GROUP).attach(&servers)))
            .await?
    };
    for (name, epoch) in epochs(&api, DEVICES).await? {
        ensure!(epoch > given[&name], "{name} got {epoch} after {}", given[&name]);
        api.echo(GROUP, &name).await?;
    }

    // A node that was given up comes back with its folder: refused. With an empty one: taken in, under a new id.
    let returning = cluster.node("n1")?;
    let refused = run_with_join(&cli, &returning, &survivor.peer_addr()).await?;
    ensure!(refused.code == Some(1) && refused.stderr.contains(&before.cluster_id), "{refused:?}");
    for name in ["n1", "n3"] {
        let node = cluster.node(name)?;
        node.wipe()?;
        node.start()?;
    }
    cluster.settled(HEAL_PATIENCE).await?;
    wait_until("all three vote", HEAL_PATIENCE, async || {
        let cluster = api.cluster().await?;
        ensure!(cluster.voters == 3, "{cluster:?}");
        Ok(())
    })
    .await?;
    let nodes = returning.api()?.nodes().await?;
    ensure!(nodes.len() == 3 && nodes.iter().all(|node| node.node_id > 3), "{nodes:?}");
    returning.api()?.echo(GROUP, &device_name(0)).await?;

    detach_all(devices).await;
    scratch.discard()?;
    cluster.finish().await
}

async fn ask(cli: &Cli, arguments: &[String], input: &str) -> anyhow::Result<Ran> {
    cli.run_with_input(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), input).await
}
