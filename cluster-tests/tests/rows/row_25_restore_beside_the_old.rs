//! Row 25.

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_cluster_and_the_old_one_hear_nothing_of_each_other() -> anyhow::Result<()> {
    super::once(25).await
}
