//! Row 5.

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_in_a_minority_loses_its_devices_to_the_majority() -> anyhow::Result<()> {
    super::once(5).await
}
