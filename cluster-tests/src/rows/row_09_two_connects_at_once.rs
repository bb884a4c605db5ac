//! Row 9: one device connects on two nodes at once. One wins; the loser is told so, and gets no call.

use std::time::Duration;

use anyhow::ensure;
use futures::FutureExt;
use rand::Rng;
use rollcall_agent::{AgentState, CloseCode};

use super::{Bite, Most, Outcome, Row, Target};
use crate::{
    HEAL_PATIENCE, Lab, LabDevice,
    history::Sight,
    invariants::Violation,
    stage::{GROUP, Ground, LoadPlan, Stage},
    wait_until,
};

/// The later of two connects comes this much later at most: about as long as an open takes, so that some of the losers are
/// let in first and some never.
const APART_US: u64 = 20_000;

/// The row.
pub(super) const ROW: Row = Row {
    number: 9,
    event: "the same device connects on two nodes at once",
    grounds: &[Ground::Loopback],
    bites_wanted: 20,
    targets: &[Target { sample: "loser told", most: Most::Of(Duration::from_secs(1)) }],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let name = format!("twin-{}", stage.rng.random::<u32>());
    let nodes = stage.cluster.running();
    // Calls to the twin, and reads of it, from before it exists.
    let called = stage.devices.iter().map(|device| device.device_id.clone()).take(1).chain([name.clone()]);
    let load = stage.load(LoadPlan::new(nodes.clone(), called.collect())).await?;
    let apart = Duration::from_micros(stage.rng.random_range(0..APART_US));
    let begun_at = stage.journal.now();
    let twin = |node: usize| {
        Lab::new(&name, GROUP).capacity(8).journal(&stage.journal).start(&[nodes[node].device_url()])
    };
    let one = twin(0);
    tokio::time::sleep(apart).await;
    let other = twin(1);

    let (winner, loser) = wait_until("one has won and the other has lost", HEAL_PATIENCE, async || {
        let lost = |device: &LabDevice| {
            matches!(device.state(), AgentState::Refused { code: CloseCode::Superseded, .. })
        };
        ensure!(lost(&one) != lost(&other), "they are {:?} and {:?}", one.state(), other.state());
        let (winner, loser) = if lost(&one) { (&other, &one) } else { (&one, &other) };
        ensure!(winner.state().is_attached(), "the winner is {:?}", winner.state());
        Ok((winner, loser))
    })
    .await?;
    let told_at = stage.journal.now();
    let (node, epoch) = winner.attached(HEAL_PATIENCE).await?;
    let counted = loser.started();
    // Calls that were on their way to the loser have ended; from now on each finds the winner.
    wait_until("calls find the winner through every node", HEAL_PATIENCE, async || {
        for through in &nodes {
            let answer = through.api()?.echo(GROUP, &name).await?;
            ensure!(answer.epoch == epoch && answer.node == node, "{answer:?}");
        }
        Ok(())
    })
    .await?;
    let mut violations = Vec::new();
    if loser.started() > counted {
        let what = format!("the loser ran {} calls after it was told", loser.started() - counted);
        violations.push(Violation::of("only_the_winner_is_called", what));
    }

    let opened: Vec<_> = stage
        .journal
        .owners()
        .into_iter()
        .filter(|record| record.device_id == name && matches!(record.sight, Sight::Opened(_)))
        .collect();
    let bite = Bite::when(opened.len() >= 2, || format!("only {} of the two was ever let in", opened.len()));
    // From when the winner was let in, or from when the loser was: told before it holds anything, it is told at once.
    let both = opened.iter().map(|record| record.to).max().unwrap_or(begun_at);
    let (twins, told) = ([one, other], told_at.saturating_sub(both));
    let [first, second] = twins;
    tokio::join!(first.shutdown(), second.shutdown());
    violations.extend(stage.judge(load).await);
    let answered = stage.journal.calls().iter().any(|call| call.device_id == name);
    ensure!(answered, "nobody called the twin");
    Ok(Outcome::new(bite, violations).measured("loser told", [told]))
}
