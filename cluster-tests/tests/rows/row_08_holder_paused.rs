//! Row 8.

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_slept_beyond_its_lease_changes_nothing_when_it_wakes() -> anyhow::Result<()> {
    super::once(8).await
}
