//! Row 12.

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_disk_is_refused_and_replaced_by_one_command() -> anyhow::Result<()> {
    super::once(12).await
}
