//! Row 26.

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_stuck_costs_no_change_and_no_call_elsewhere() -> anyhow::Result<()> {
    super::once(26).await
}
