//! A leader that is asked to stop hands leadership over: nobody waits for an election time-out to find out.

use anyhow::ensure;
use rollcall_cluster_tests::{Cluster, FORM_PATIENCE, HEAL_PATIENCE, Node};

/// What the node says that was asked by its leader to campaign at once.
const TAKES_OVER: &str = "takes leadership over from a leader that hands it on";
/// What a voter says whose leader has asked another one to campaign.
const LETS_GO: &str = "votes for the node that its leader hands leadership to";

/// How often a leader may be stopped until a hand-over gets through: on a machine that stands still for a moment the others may
/// have campaigned by themselves before.
const TRIES: usize = 3;

/// How often a node's process has said so.
fn said(node: &Node, what: &str) -> anyhow::Result<usize> {
    Ok(node.output()?.matches(what).count())
}

/// Stops the leader; why its successor does not lead by its leave, if so.
async fn stop_the_leader(cluster: &Cluster) -> anyhow::Result<Option<String>> {
    let (leader, one, two) = cluster.leader_and_two_others().await?;
    let before = leader.api()?.cluster().await?;
    let asked = [said(&one, TAKES_OVER)?, said(&two, TAKES_OVER)?];
    let voted = said(&one, LETS_GO)? + said(&two, LETS_GO)? + said(&leader, LETS_GO)?;
    ensure!(leader.stop().await?.success(), "it did not stop cleanly:\n{}", leader.output()?);
    let successor = cluster.leader(HEAL_PATIENCE).await?;
    let by_leader = said(&leader, LETS_GO)?;
    let at = usize::from(successor.name == two.name);
    let after = successor.api()?.cluster().await?;
    leader.start()?;
    cluster.settled(FORM_PATIENCE).await?;
    let voted_now = said(&one, LETS_GO)? + said(&two, LETS_GO)? + by_leader;
    Ok(if after.term != before.term + 1 {
        Some(format!("term {} after {}", after.term, before.term))
    } else if said(&successor, TAKES_OVER)? == asked[at] {
        Some(format!("{} was not asked to lead", successor.name))
    } else if voted_now == voted {
        Some("nobody was asked for its vote in a hand-over".to_owned())
    } else {
        None
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_told_to_stop_lets_another_one_lead_at_once() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let mut found = Vec::new();
    for _ in 0..TRIES {
        match stop_the_leader(&cluster).await? {
            None => return cluster.finish().await,
            Some(why_not) => found.push(why_not),
        }
    }
    anyhow::bail!("leadership was never handed over: {found:?}");
}
