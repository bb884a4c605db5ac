//! Row 2.

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_costs_no_call() -> anyhow::Result<()> {
    super::once(2).await
}
