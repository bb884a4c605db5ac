//! The failure matrix: what happens, and what is promised when it does. One row a file; the same code runs in the short
//! tests and in `torture`.

mod outcome;
mod play;
mod refusals;
mod row;
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
mod schedule;

pub use outcome::{Bite, Count, Outcome, Sample};
pub use play::{Stages, play};
pub use row::{Most, Row, Target};
pub use schedule::{Schedule, Turn};

/// All rows that can be played, in the order of the matrix.
pub const ROWS: &[Row] = &[
    row_01_follower_killed::ROW,
    row_02_leader_killed::ROW,
    row_03_holder_killed::ROW,
    row_04_leading_holder_killed::ROW,
    row_05_holder_in_a_minority::ROW,
    row_06_one_way_partition::ROW,
    row_07_quorum_lost::ROW,
    row_08_holder_paused::ROW,
    row_09_two_connects_at_once::ROW,
    row_10_rolling_restart::ROW,
    row_11_all_killed_at_once::ROW,
    row_12_disk_lost::ROW,
    row_13_disk_set_back::ROW,
    row_14_slow_fsyncs::ROW,
    row_15_reconnect_storm::ROW,
    row_16_device_that_never_answers::ROW,
    row_17_large_beside_small::ROW,
    row_18_disk_fails::ROW,
    row_19_callers_node_killed::ROW,
    row_20_host_lost::ROW,
    row_21_link_down::ROW,
    row_22_return_after_node_down::ROW,
    row_23_drain_without_quorum::ROW,
    row_24_versions_mixed::ROW,
    row_25_restore_beside_the_old::ROW,
    row_26_stuck_fsync::ROW,
];

/// The row of a number.
///
/// # Errors
/// There is none, or it cannot be played yet.
pub fn row(number: u8) -> anyhow::Result<&'static Row> {
    let found = ROWS.iter().find(|row| row.number == number);
    found.ok_or_else(|| anyhow::anyhow!("row {number} cannot be played"))
}
