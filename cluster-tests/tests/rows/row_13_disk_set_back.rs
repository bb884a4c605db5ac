//! Row 13.

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_was_set_back_is_found_out_and_nothing_is_lost() -> anyhow::Result<()> {
    super::once(13).await
}
