//! Row 24.

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_two_versions_work_together_and_the_way_back_is_open() -> anyhow::Result<()> {
    super::once(24).await
}
