//! Row 17.

#[tokio::test(flavor = "multi_thread")]
async fn small_calls_go_on_beside_large_and_long_ones() -> anyhow::Result<()> {
    super::once(17).await
}
