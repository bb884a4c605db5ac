//! Row 6.

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_nobody_hears_costs_at_most_one_extra_election() -> anyhow::Result<()> {
    super::once(6).await
}
