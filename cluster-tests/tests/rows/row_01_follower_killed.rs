//! Row 1.

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_follower_costs_no_call_and_no_session() -> anyhow::Result<()> {
    super::once(1).await
}
