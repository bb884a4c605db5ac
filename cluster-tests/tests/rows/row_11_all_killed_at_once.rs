//! Row 11.

#[tokio::test(flavor = "multi_thread")]
async fn all_killed_at_once_recover_by_themselves() -> anyhow::Result<()> {
    super::once(11).await
}
