//! A node that has lost touch with its cluster: whom it serves is a setting. Only Raft is cut; links and devices are there.

use anyhow::ensure;
use rollcall_cluster_tests::{
    ClusterPlan, HEAL_PATIENCE, Lab, Node, SPREAD_PATIENCE, call, refusal, wait_until,
};
use rollcall_proto::api::InvokeRequest;
use rollcall_registry::faults::Switch;

/// Who is to be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Served {
    Yes,
    No,
}

/// Cuts a holder and a caller's node off, and waits until the holder serves just these.
async fn serves(isolation: &str, own: Served, forwarded: Served) -> anyhow::Result<()> {
    let plan = ClusterPlan::of(3).with_faults().flag("heartbeat-interval", "3s").flag("isolation", isolation);
    let cluster = plan.start().await?;
    let (leader, caller, holder) = cluster.leader_and_two_others().await?;
    let device = Lab::new("alone", "alone").capacity(4).attach(&[holder.device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    lease_held(&holder).await?;
    for node in [&caller, &holder] {
        node.switch(&[Switch::RaftCut]).await?;
    }
    lease_lapsed(&holder).await?;
    let now = (served(&holder).await?, served(&caller).await?);
    ensure!(now == (own, forwarded), "{isolation}: its own callers {:?}, others {:?}", now.0, now.1);
    ensure!(device.started() == [own, forwarded].iter().filter(|served| **served == Served::Yes).count());
    cluster.switch(&[]).await?;
    cluster.settled(HEAL_PATIENCE).await?;
    device.attached(HEAL_PATIENCE).await?;
    wait_until("calls are served again", HEAL_PATIENCE, async || {
        leader.api()?.echo("alone", "alone").await.map(drop)
    })
    .await?;
    cluster.finish().await
}

/// The metric follows the lease by an interval: it has to be seen held before it is seen lapsed.
async fn lease_held(holder: &Node) -> anyhow::Result<()> {
    wait_until("the metric shows the holder's lease", HEAL_PATIENCE, async || {
        let left = lease_left(holder).await?;
        ensure!(left > Some(0.0), "{left:?} is left of it");
        Ok(())
    })
    .await
}

async fn lease_lapsed(holder: &Node) -> anyhow::Result<()> {
    wait_until("the holder's lease has lapsed", HEAL_PATIENCE, async || {
        let left = lease_left(holder).await?;
        ensure!(left == Some(0.0), "{left:?} is left of it");
        Ok(())
    })
    .await
}

async fn lease_left(holder: &Node) -> anyhow::Result<Option<f64>> {
    let (_, page) = holder.get("/metrics").await?;
    let gauge = page.lines().find(|line| line.starts_with("rollcall_lease_remaining_seconds"));
    Ok(gauge.and_then(|line| line.rsplit_once(' ')).and_then(|(_, left)| left.parse().ok()))
}

async fn served(through: &Node) -> anyhow::Result<Served> {
    let request = InvokeRequest { device_id: "alone".into(), ..call("alone", "echo") };
    match through.api()?.call(request).await {
        Ok(_) => Ok(Served::Yes),
        Err(status) => {
            let refused = refusal::<()>(Err(status))?;
            ensure!(refused.reason == "HOLDER_FENCED" && refused.outcome == "NOT_EXECUTED", "{refused:?}");
            Ok(Served::No)
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_node_serves_nobody() -> anyhow::Result<()> {
    serves("fence", Served::No, Served::No).await
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_it_serves_its_own_callers() -> anyhow::Result<()> {
    serves("serve_local", Served::Yes, Served::No).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_serves_all_takes_forwarded_calls_too() -> anyhow::Result<()> {
    serves("serve_all", Served::Yes, Served::Yes).await
}
