//! A node sleeps beyond its lease and wakes up: devices that moved stay where they are, those that stayed need not reconnect.

use anyhow::{bail, ensure};
use rollcall_cluster_tests::{
    Cluster, ClusterPlan, HEAL_PATIENCE, Lab, LabDevice, Node, RawDevice, RawProfile, SPREAD_PATIENCE,
    wait_until,
};
use rollcall_proto::{api::NodeState, device::attach_response::Frame as Down};

/// Devices of each kind.
const DEVICES: usize = 5;

async fn seen_down(node: &Node, from: &Node) -> anyhow::Result<()> {
    wait_until(&format!("{} is taken for down", node.name), HEAL_PATIENCE, async || {
        let nodes = from.api()?.nodes().await?;
        let down = nodes.iter().any(|seen| seen.name == node.name && seen.state() == NodeState::Down);
        ensure!(down, "{nodes:?}");
        Ok(())
    })
    .await
}

async fn is_held_by(cluster: &Cluster, device_id: &str, holder: &str, epoch: u64) -> anyhow::Result<()> {
    for node in cluster.running() {
        let session = node.api()?.device(device_id).await?.session;
        let at = session.as_ref().map(|session| (session.node.as_str(), session.epoch));
        ensure!(at == Some((holder, epoch)), "{} sees {device_id} at {at:?}, not {holder}", node.name);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_slept_steals_no_session_and_keeps_the_streams_that_stayed() -> anyhow::Result<()> {
    // Neither side drops the other for its silence while the node sleeps.
    let cluster = ClusterPlan::of(3).flag("heartbeat-interval", "15s").start().await?;
    let (_, sleeper, awake) = cluster.leader_and_two_others().await?;
    let mut stayed = Vec::new();
    let mut left = Vec::new();
    for number in 0..DEVICES {
        let profile = RawProfile::new(&format!("stays-{number}"), "lapse");
        stayed.push((RawDevice::attached(&sleeper.device_url(), &profile).await?, profile));
        let profile = RawProfile::new(&format!("moves-{number}"), "lapse");
        left.push((RawDevice::attached(&sleeper.device_url(), &profile).await?.0, profile.device_id));
    }
    let agent = Lab::new("stays-with-an-agent", "lapse").attach(&[sleeper.device_url()]).await?;
    let (_, before) = agent.attached(SPREAD_PATIENCE).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;

    sleeper.pause()?;
    seen_down(&sleeper, &awake).await?;
    let mut moved: Vec<LabDevice> = Vec::new();
    for (_, device_id) in &left {
        moved.push(Lab::new(device_id, "lapse").attach(&[awake.device_url()]).await?);
    }
    sleeper.resume()?;
    cluster.settled(HEAL_PATIENCE).await?;

    for ((mut stream, first), profile) in stayed {
        match stream.hear_within(HEAL_PATIENCE).await? {
            Some((1, Down::Attached(again))) => {
                ensure!(again.resumed && again.epoch > first.epoch, "{again:?} after {first:?}");
                cluster.caught_up(SPREAD_PATIENCE).await?;
                is_held_by(&cluster, &profile.device_id, &sleeper.name, again.epoch).await?;
            }
            other => bail!("{} heard {other:?}", profile.device_id),
        }
    }
    let what = "the agent's stream goes on under a newer epoch";
    let epoch = wait_until(what, HEAL_PATIENCE, async || {
        let (_, epoch) = agent.attached(SPREAD_PATIENCE).await?;
        ensure!(epoch > before, "still {epoch}");
        Ok(epoch)
    })
    .await?;
    is_held_by(&cluster, &agent.device_id, &sleeper.name, epoch).await?;
    awake.api()?.echo("lapse", &agent.device_id).await?;

    for ((mut stream, device_id), new) in left.into_iter().zip(&moved) {
        match stream.hear_within(HEAL_PATIENCE).await? {
            Some((1, Down::Superseded(notice))) => ensure!(!notice.same_instance, "{notice:?}"),
            other => bail!("the old stream of {device_id} heard {other:?}"),
        }
        let (holder, epoch) = new.attached(SPREAD_PATIENCE).await?;
        ensure!(holder == awake.name, "{device_id} is at {holder}");
        is_held_by(&cluster, &device_id, &awake.name, epoch).await?;
        ensure!(sleeper.api()?.echo("lapse", &device_id).await?.node == awake.name);
    }
    cluster.finish().await
}
