//! Row 7.

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_connects_are_refused_and_own_devices_served() -> anyhow::Result<()> {
    super::once(7).await
}
