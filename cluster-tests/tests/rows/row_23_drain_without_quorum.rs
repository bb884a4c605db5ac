//! Row 23.

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_without_quorum_finishes_calls_and_exits() -> anyhow::Result<()> {
    super::once(23).await
}
