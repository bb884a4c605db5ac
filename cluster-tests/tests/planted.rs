//! Planted bugs: each protection of the gateway is taken away once, and the invariant that is there for it notices.

use anyhow::ensure;
use rollcall_cluster_tests::planted::{BUGS, Planted, Scene, is_permitted, table};
use rollcall_registry::faults::Switch;

/// With its protection the story breaks nothing; without, it breaks the invariant that the table names.
async fn caught(switch: Switch) -> anyhow::Result<()> {
    let Some(bug) = BUGS.iter().find(|bug| bug.switch == switch) else {
        anyhow::bail!("nobody plants {switch:?}:\n{}", table())
    };
    if !is_permitted(bug) {
        eprintln!("NOT RUN: {} needs strace, and it is not permitted here", bug.bug);
        return Ok(());
    }
    let mut scene = Scene::set().await?;
    let found = scene.tell(bug, &[]).await?;
    ensure!(found.is_empty(), "with all protections: {found:#?}");
    let found = scene.tell(bug, &[switch]).await?;
    let Planted { caught_by, .. } = bug;
    ensure!(found.iter().any(|broken| broken.invariant == *caught_by), "{caught_by} is not among {found:#?}");
    eprintln!("{}: {}", bug.bug, found[0]);
    scene.cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_epoch_check_is_caught() -> anyhow::Result<()> {
    caught(Switch::EpochUnchecked).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unconditional_close_is_caught() -> anyhow::Result<()> {
    caught(Switch::ClosesUnconditional).await
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_de_duplication_is_caught() -> anyhow::Result<()> {
    caught(Switch::Repeats).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_fsync_is_caught() -> anyhow::Result<()> {
    caught(Switch::SyncsSkipped).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_never_ends_is_caught() -> anyhow::Result<()> {
    caught(Switch::LeaseUnwatched).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_of_what_perhaps_ran_is_caught() -> anyhow::Result<()> {
    caught(Switch::UnknownRetried).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leak_of_pending_calls_is_caught() -> anyhow::Result<()> {
    caught(Switch::PendingLeaked).await
}
