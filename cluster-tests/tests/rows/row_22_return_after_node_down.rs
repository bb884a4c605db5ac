//! Row 22.

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_returns_announces_live_streams_and_steals_none() -> anyhow::Result<()> {
    super::once(22).await
}
