//! The failure matrix, each row once: the fault bites, and no invariant breaks. How long things take is not judged here
//! but by `torture`.

mod row_01_follower_killed;
mod row_02_leader_killed;
mod row_03_holder_killed;
mod row_04_leading_holder_killed;
mod row_05_holder_in_a_minority;
mod row_06_one_way_partition;
mod row_07_quorum_lost;
mod row_08_holder_paused;
mod row_09_two_connects_at_once;
mod row_10_rolling_restart;
mod row_11_all_killed_at_once;
mod row_12_disk_lost;
mod row_13_disk_set_back;
mod row_14_slow_fsyncs;
mod row_15_reconnect_storm;
mod row_16_device_that_never_answers;
mod row_17_large_beside_small;
mod row_18_disk_fails;
mod row_19_callers_node_killed;
mod row_20_host_lost;
mod row_21_link_down;
mod row_22_return_after_node_down;
mod row_23_drain_without_quorum;
mod row_24_versions_mixed;
mod row_25_restore_beside_the_old;
mod row_26_stuck_fsync;

use anyhow::{bail, ensure};
use rollcall_cluster_tests::{
    rows::{Bite, Row, Stages, play, row},
    stage::Ground,
};

/// How often a run may be inconclusive before the test gives up: then the row has lost its teeth.
const TRIES: u64 = 3;

/// Plays a row on each of its grounds until its fault bites, and fails on any violation.
async fn once(number: u8) -> anyhow::Result<()> {
    let row = row(number)?;
    for ground in row.grounds {
        once_on(row, *ground).await?;
    }
    Ok(())
}

async fn once_on(row: &Row, ground: Ground) -> anyhow::Result<()> {
    let (number, mut stages) = (row.number, Stages::default());
    let first: u64 = rand::random::<u32>().into();
    let mut last = String::new();
    for seed in first..first + TRIES {
        eprintln!("row {number} ({}) on {ground:?} with seed {seed}", row.event);
        let Some(outcome) = play(row, ground, seed, &mut stages).await? else {
            eprintln!("NOT RUN: row {number} needs {ground:?}, and it is not permitted here");
            return Ok(());
        };
        let found: Vec<_> = outcome.violations.iter().map(ToString::to_string).collect();
        ensure!(found.is_empty(), "row {number} on {ground:?} with seed {seed}:\n{}", found.join("\n"));
        match outcome.bite {
            Bite::Bit => return stages.finish().await,
            Bite::Inconclusive(why) => last = why,
        }
    }
    bail!("the fault of row {number} never bit; the last time: {last}")
}
