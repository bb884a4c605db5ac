//! Row 15.

#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_storm_costs_no_call_no_election_and_no_lease() -> anyhow::Result<()> {
    super::once(15).await
}
