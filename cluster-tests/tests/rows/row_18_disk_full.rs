//! Row 18.

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_its_node_and_loses_nothing() -> anyhow::Result<()> {
    super::once(18).await
}
