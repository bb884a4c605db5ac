//! Row 18.

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_and_a_failing_one_stop_their_nodes_and_lose_nothing() -> anyhow::Result<()> {
    super::once(18).await
}
