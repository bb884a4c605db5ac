//! Operating the membership: removing, promoting and demoting nodes, moving leadership, lost disks, moved nodes.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use rollcall_cluster_tests::{
    Cli, Cluster, FORM_PATIENCE, HEAL_PATIENCE, Lab, Node, Ran, SPREAD_PATIENCE, wait_until,
};
use rollcall_proto::api::{self, NodeRole};
use tokio::time::Instant;

/// How long a learner that must not be promoted is watched: longer than the leader takes to promote one.
const WATCHED: Duration = Duration::from_secs(6);

/// Runs a command against one node.
async fn command(node: &Node, arguments: &[&str]) -> anyhow::Result<Ran> {
    let url = node.api_url();
    let all: Vec<&str> = arguments.iter().copied().chain(["--addr", &url]).collect();
    Cli::new().await?.run(&all).await
}

/// A command that must be refused, with this reason.
async fn refused(node: &Node, arguments: &[&str], reason: &str) -> anyhow::Result<()> {
    let ran = command(node, arguments).await?;
    ensure!(
        ran.code == Some(1) && ran.stderr.contains(reason),
        "{arguments:?} is not refused with {reason}: {ran:?}"
    );
    Ok(())
}

/// A node, as another one sees it.
async fn seen(from: &Node, name: &str) -> anyhow::Result<api::Node> {
    let nodes = from.api()?.nodes().await?;
    nodes.into_iter().find(|node| node.name == name).with_context(|| format!("{} sees no {name}", from.name))
}

async fn votes(from: &Node, name: &str) -> anyhow::Result<()> {
    let node = seen(from, name).await?;
    ensure!(matches!(node.role(), NodeRole::Voter | NodeRole::Leader), "{} sees {node:?}", from.name);
    Ok(())
}

async fn becomes_voter(from: &Node, name: &str) -> anyhow::Result<()> {
    wait_until(&format!("{name} votes"), HEAL_PATIENCE, async || votes(from, name).await).await
}

/// A node that was removed stops by itself, says why, and is no fault to its supervisor.
async fn stops_as_removed(node: &Node) -> anyhow::Result<()> {
    let status = node.ended(HEAL_PATIENCE).await?;
    let said = node.output()?;
    ensure!(status.success() && said.contains("was removed from its cluster"), "{status}:\n{said}");
    Ok(())
}

/// Archives that a removal left in a node's folder.
fn archives(node: &Node) -> anyhow::Result<Vec<String>> {
    let names = std::fs::read_dir(&node.data_dir)?.map(|entry| entry.map(|entry| entry.file_name()));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    Ok(names
        .iter()
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.starts_with("removed-"))
        .collect())
}

async fn not_connected(from: &Node, device: &str) -> anyhow::Result<()> {
    wait_until(&format!("{} sees no session of {device}", from.name), SPREAD_PATIENCE, async || {
        let device = from.api()?.device(device).await?;
        ensure!(device.session.is_none(), "{device:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_follower_stops_and_comes_back_as_a_new_node() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let (leader, removed, other) = cluster.leader_and_two_others().await?;
    let device = Lab::new("left-behind", "members").attach(&[removed.device_url()]).await?;
    let former = seen(&leader, &removed.name).await?;

    // Any node may be asked: this one does not lead.
    let ran = command(&other, &["nodes", "remove", &removed.name, "--output", "json"]).await?;
    let answer = ran.json()?;
    ensure!(answer["node_id"] == former.node_id && answer["change"] == "removed", "{answer}");
    stops_as_removed(&removed).await?;
    for node in [&leader, &other] {
        not_connected(node, "left-behind").await?;
        ensure!(seen(node, &removed.name).await.is_err(), "{} still lists {}", node.name, removed.name);
    }
    ensure!(leader.api()?.cluster().await?.voters == 2, "the vote was kept");
    refused(&other, &["nodes", "remove", &removed.name], "UNKNOWN_NODE").await?;

    removed.start()?;
    cluster.settled(FORM_PATIENCE).await?;
    let back = seen(&leader, &removed.name).await?;
    ensure!(back.node_id > 3, "the id {} was given again", back.node_id);
    ensure!(archives(&removed)?.len() == 1, "the old data is not put aside: {:?}", archives(&removed)?);
    becomes_voter(&leader, &removed.name).await?;
    let (holder, _) = device.attached(HEAL_PATIENCE).await?;
    ensure!(holder == removed.name, "{holder}");
    device.shutdown().await;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_leader_hands_over_first() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let (leader, one, two) = cluster.leader_and_two_others().await?;
    let ran = command(&leader, &["nodes", "remove", &leader.name]).await?;
    ensure!(ran.code == Some(0), "{ran:?}");
    stops_as_removed(&leader).await?;
    cluster.settled(HEAL_PATIENCE).await?;
    let successor = cluster.leader(HEAL_PATIENCE).await?;
    ensure!([&one.name, &two.name].contains(&&successor.name), "{} leads", successor.name);
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_would_cost_the_quorum_is_refused() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let (leader, one, two) = cluster.leader_and_two_others().await?;
    one.kill9()?;
    // Its lease still runs, and its last heartbeat is young: what counts is whom the leader hears from now on.
    refused(&leader, &["nodes", "demote", &two.name], "QUORUM_AT_RISK").await?;
    refused(&two, &["nodes", "remove", &two.name], "QUORUM_AT_RISK").await?;
    refused(&two, &["nodes", "remove", &leader.name], "QUORUM_AT_RISK").await?;
    // The one that is down may go.
    let ran = command(&two, &["nodes", "remove", &one.name]).await?;
    ensure!(ran.code == Some(0), "{ran:?}");

    // It learns so when it comes back, from any of the others.
    one.start()?;
    stops_as_removed(&one).await?;
    one.start()?;
    cluster.settled(FORM_PATIENCE).await?;
    becomes_voter(&leader, &one.name).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_node_stays_a_learner_until_it_is_promoted() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let (leader, demoted, other) = cluster.leader_and_two_others().await?;
    let device = Lab::new("kept", "members").attach(&[demoted.device_url()]).await?;
    refused(&other, &["nodes", "promote", "n9"], "UNKNOWN_NODE").await?;
    let ran = command(&demoted, &["nodes", "demote", &demoted.name, "--output", "json"]).await?;
    ensure!(ran.json()?["change"] == "demoted", "{ran:?}");
    let until = Instant::now() + WATCHED;
    while Instant::now() < until {
        ensure!(seen(&leader, &demoted.name).await?.role() == NodeRole::Learner, "it votes again");
        other.api()?.echo("members", "kept").await.context("a learner's device is called")?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    refused(&other, &["cluster", "transfer-leadership", "--to", &demoted.name], "NOT_A_VOTER").await?;
    let ran = command(&other, &["nodes", "promote", &demoted.name]).await?;
    ensure!(ran.code == Some(0), "{ran:?}");
    becomes_voter(&other, &demoted.name).await?;
    device.shutdown().await;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_moves_where_it_is_asked_to() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let (leader, one, two) = cluster.leader_and_two_others().await?;
    let moved = command(&two, &["cluster", "transfer-leadership", "--to", &one.name, "--output", "json"])
        .await?
        .json()?;
    ensure!(moved["from"] == leader.name.as_str() && moved["to"] == one.name.as_str(), "{moved}");
    ensure!(cluster.leader(SPREAD_PATIENCE).await?.name == one.name, "another one leads");
    let again = command(&one, &["cluster", "transfer-leadership", "--output", "json"]).await?.json()?;
    let to = again["to"].as_str().context("it does not say to whom")?;
    ensure!(to != one.name && cluster.leader(SPREAD_PATIENCE).await?.name == to, "{again}");
    refused(&two, &["cluster", "transfer-leadership", "--to", "n9"], "UNKNOWN_NODE").await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_node_that_returns_causes_no_election() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let (leader, paused, _) = cluster.leader_and_two_others().await?;
    let before = leader.api()?.cluster().await?;
    paused.pause()?;
    wait_until("its lease lapses", HEAL_PATIENCE, async || {
        let node = seen(&leader, &paused.name).await?;
        ensure!(node.state() == api::NodeState::Down, "{node:?}");
        Ok(())
    })
    .await?;
    paused.resume()?;
    cluster.settled(HEAL_PATIENCE).await?;
    let after = leader.api()?.cluster().await?;
    ensure!(after.term == before.term && after.leader == before.leader, "{before:?}, then {after:?}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spare_node_takes_the_place_of_a_removed_voter() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let spare = cluster.add_node()?;
    spare.start()?;
    cluster.settled(FORM_PATIENCE).await?;
    let (leader, lost) = leader_and_another_founder(&cluster).await?;
    ensure!(seen(&leader, &spare.name).await?.role() == NodeRole::Learner, "there are four voters");
    refused(&spare, &["nodes", "promote", &spare.name], "VOTERS_COMPLETE").await?;
    lost.kill9()?;
    let ran = command(&spare, &["nodes", "remove", &lost.name]).await?;
    ensure!(ran.code == Some(0), "{ran:?}");
    becomes_voter(&leader, &spare.name).await?;
    ensure!(leader.api()?.cluster().await?.voters == 3, "not three voters");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_disk_is_refused_until_the_node_is_removed_and_a_learner_replaces_itself() -> anyhow::Result<()>
{
    let mut cluster = Cluster::start(3).await?;
    let learner = cluster.add_node()?;
    learner.start()?;
    cluster.settled(FORM_PATIENCE).await?;
    let (leader, lost) = leader_and_another_founder(&cluster).await?;
    lost.kill9()?;
    lost.wipe()?;
    lost.start()?;
    let status = lost.ended(HEAL_PATIENCE).await?;
    let said = lost.output()?;
    let runbook = format!("rollcall nodes remove {}", lost.name);
    ensure!(status.code() == Some(1) && said.contains(&runbook), "{status}:\n{said}");

    learner.kill9()?;
    learner.wipe()?;
    learner.start()?;
    wait_until("the learner is back under another id", HEAL_PATIENCE, async || {
        let back = seen(&leader, &learner.name).await?;
        ensure!(back.node_id > 4 && back.state() == api::NodeState::Up, "{back:?}");
        Ok(())
    })
    .await?;

    let ran = command(&leader, &["nodes", "remove", &lost.name]).await?;
    ensure!(ran.code == Some(0), "{ran:?}");
    lost.start()?;
    cluster.settled(FORM_PATIENCE).await?;
    ensure!(seen(&leader, &lost.name).await?.node_id > 5, "an id was given again");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_was_set_back_is_refused() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let (leader, set_back, other) = cluster.leader_and_two_others().await?;
    let copies = cluster.scratch().folder("copies")?;

    // A copy from within the start whose entries it then acknowledges: only its log is too short.
    set_back.pause()?;
    set_back.copy_disk(&copies.join("within"))?;
    set_back.resume()?;
    cluster.settled(HEAL_PATIENCE).await?;
    acknowledge_more(&cluster, &leader, "within").await?;
    set_back.kill9()?;
    let newest = copies.join("newest");
    set_back.copy_disk(&newest)?;
    is_refused(&set_back, &copies.join("within")).await?;

    // The same once the leader has changed: what the leader knew is in the log.
    down(&leader, &set_back.name).await?;
    let ran = command(&other, &["cluster", "transfer-leadership", "--to", &other.name]).await?;
    ensure!(ran.code == Some(0), "{ran:?}");
    is_refused(&set_back, &copies.join("within")).await?;

    // A copy from before an earlier start: it counts too few of them.
    set_back.set_disk_back(&newest)?;
    set_back.start()?;
    cluster.settled(HEAL_PATIENCE).await?;
    set_back.kill9()?;
    is_refused(&set_back, &newest).await?;

    // The runbook: remove, then start with an empty folder.
    let ran = command(&other, &["nodes", "remove", &set_back.name]).await?;
    ensure!(ran.code == Some(0), "{ran:?}");
    set_back.wipe()?;
    set_back.start()?;
    cluster.settled(FORM_PATIENCE).await?;
    becomes_voter(&other, &set_back.name).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_found_at_its_new_addresses() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let (leader, one, two) = cluster.leader_and_two_others().await?;
    for moving in [one.name.clone(), leader.name.clone()] {
        let node = cluster.node(&moving)?;
        node.kill9()?;
        let moved = cluster.move_node(&moving)?;
        moved.start()?;
        cluster.settled(FORM_PATIENCE).await?;
        for node in cluster.running() {
            let known = seen(&node, &moving).await?;
            ensure!(known.peer_addr == moved.peer_addr(), "{} knows {known:?}", node.name);
        }
        let name = format!("at-{moving}");
        let device = Lab::new(&name, "moving").attach(&[moved.device_url()]).await?;
        wait_until("its device is called through a node that stayed", HEAL_PATIENCE, async || {
            two.api()?.echo("moving", &name).await
        })
        .await?;
        device.shutdown().await;
    }
    // Raft finds it there too: it can lead.
    let ran = command(&two, &["cluster", "transfer-leadership", "--to", &one.name]).await?;
    ensure!(ran.code == Some(0), "{ran:?}");
    cluster.finish().await
}

async fn leader_and_another_founder(cluster: &Cluster) -> anyhow::Result<(Arc<Node>, Arc<Node>)> {
    let leader = cluster.leader(HEAL_PATIENCE).await?;
    for name in ["n1", "n2", "n3"] {
        if name != leader.name {
            return Ok((leader, cluster.node(name)?));
        }
    }
    bail!("no other founder")
}

/// Has every node acknowledge some entries.
async fn acknowledge_more(cluster: &Cluster, through: &Node, name: &str) -> anyhow::Result<()> {
    for number in 0..5 {
        let device = Lab::new(&format!("{name}-{number}"), "entries").attach(&[through.device_url()]).await?;
        device.shutdown().await;
    }
    cluster.caught_up(SPREAD_PATIENCE).await
}

async fn down(from: &Node, name: &str) -> anyhow::Result<()> {
    wait_until(&format!("{name} is down"), HEAL_PATIENCE, async || {
        let node = seen(from, name).await?;
        ensure!(node.state() == api::NodeState::Down, "{node:?}");
        Ok(())
    })
    .await
}

/// A node whose disk is set back to this copy stops, and says what to do.
async fn is_refused(node: &Node, copy: &std::path::Path) -> anyhow::Result<()> {
    node.set_disk_back(copy)?;
    node.start()?;
    let status = node.ended(HEAL_PATIENCE).await?;
    let said = node.output()?;
    let runbook = format!("rollcall nodes remove {}", node.name);
    ensure!(
        status.code() == Some(1) && said.contains("set back") && said.contains(&runbook),
        "{status}:\n{said}"
    );
    Ok(())
}
