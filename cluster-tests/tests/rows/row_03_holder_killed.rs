//! Row 3.

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_holder_is_told_typed_and_its_devices_come_back() -> anyhow::Result<()> {
    super::once(3).await
}
