//! Row 16.

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_never_answers_fails_only_its_own_calls() -> anyhow::Result<()> {
    super::once(16).await
}
