//! Row 4.

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_that_holds_devices_is_both_at_once() -> anyhow::Result<()> {
    super::once(4).await
}
