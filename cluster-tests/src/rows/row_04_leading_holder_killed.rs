//! Row 4: the leader is killed and holds called devices: the sum of rows 2 and 3.

use std::time::Duration;

use futures::FutureExt;

use super::{
    Most, Outcome, Row, Target,
    refusals::TARGETS,
    row_03_holder_killed::{BACK, kill_holder},
};
use crate::{
    HEAL_PATIENCE,
    stage::{Ground, Stage},
};

/// An election, before which no device can come back.
const ELECTION: Duration = Duration::from_millis(1_500);

/// The row.
pub(super) const ROW: Row = Row {
    number: 4,
    event: "the leader killed, which is the holder",
    grounds: &[Ground::Loopback],
    bites_wanted: 20,
    targets: &[
        Target { sample: "connect pause", most: Most::Of(ELECTION) },
        TARGETS[0],
        TARGETS[1],
        Target { sample: "device back", most: Most::Of(BACK.saturating_add(ELECTION)) },
    ],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let leader = stage.cluster.leader(HEAL_PATIENCE).await?;
    kill_holder(stage, leader).await
}
