//! Row 19.

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_node_was_killed_is_joined_through_another() -> anyhow::Result<()> {
    super::once(19).await
}
