//! Row 10.

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_fails_no_idempotent_call() -> anyhow::Result<()> {
    super::once(10).await
}
