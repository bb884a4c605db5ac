//! Row 21.

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_down_fails_its_calls_typed_and_no_session() -> anyhow::Result<()> {
    super::once(21).await
}
