//! Row 20.

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_silent_is_noticed_and_its_devices_move() -> anyhow::Result<()> {
    super::once(20).await
}
