//! Row 14.

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_with_a_slow_disk_costs_no_lease_and_no_call() -> anyhow::Result<()> {
    super::once(14).await
}
