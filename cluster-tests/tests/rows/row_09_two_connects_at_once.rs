//! Row 9.

#[tokio::test(flavor = "multi_thread")]
async fn of_two_connects_at_once_one_wins_and_gets_the_calls() -> anyhow::Result<()> {
    super::once(9).await
}
