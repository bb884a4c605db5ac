//! Playing a row: on a stage that stays while its ground does, and is given up as soon as something went wrong on it.

use anyhow::Context;

use super::{Bite, Outcome, Row};
use crate::{
    invariants::Violation,
    stage::{Ground, Stage},
};

/// The stage that is set, if one is: each takes a turn on this machine, and an idle one would take time from the others.
#[derive(Debug, Default)]
pub struct Stages {
    set: Option<(Ground, Stage)>,
}

impl Stages {
    /// The stage on this ground, set if it is not; nothing where the ground is not permitted.
    async fn on(&mut self, ground: Ground, seed: u64) -> anyhow::Result<Option<Stage>> {
        match self.set.take() {
            Some((same, stage)) if same == ground => return Ok(Some(stage)),
            Some((_, other)) => other.finish().await.context("the stage before was not well")?,
            None => {}
        }
        Stage::set(ground, seed).await
    }

    /// Ends the one that is set.
    ///
    /// # Errors
    /// A node was not well.
    pub async fn finish(self) -> anyhow::Result<()> {
        match self.set {
            Some((_, stage)) => stage.finish().await,
            None => Ok(()),
        }
    }
}

/// Plays a row once, on a ground of its own. Nothing: that is not permitted here.
///
/// After a violation, or an error, the logs and data of the run stay, and the next run gets a new stage.
///
/// # Errors
/// The harness' own trouble: nothing can be said of the row.
pub async fn play(
    row: &Row,
    ground: Ground,
    seed: u64,
    stages: &mut Stages,
) -> anyhow::Result<Option<Outcome>> {
    let Some(mut stage) = stages.on(ground, seed).await.context("the stage could not be set")? else {
        return Ok(None);
    };
    stage.begin(seed).await.with_context(|| kept(&stage, row, seed))?;
    let outcome = match (row.play)(&mut stage).await {
        Ok(outcome) => outcome,
        // What should have happened and did not, as far as the row got: a violation with the row's own words.
        Err(error) => Outcome::new(
            Bite::Inconclusive("it did not come to its end".into()),
            vec![Violation::of("the_row_ends", format!("{error:#}"))],
        ),
    };
    if outcome.violations.is_empty() {
        stages.set = Some((ground, stage));
    } else {
        keep_journal(&stage)?;
        eprintln!("{}", kept(&stage, row, seed));
    }
    Ok(Some(outcome))
}

/// Where everything is, and how to see it again.
fn kept(stage: &Stage, row: &Row, seed: u64) -> String {
    format!(
        "row {} with seed {seed}: logs, data and journal are kept in {}; again: \
         cargo run --release -p rollcall-cluster-tests --bin torture -- --row {} --ground {:?} --seed {seed} --runs 1",
        row.number,
        stage.cluster.scratch().path().display(),
        row.number,
        stage.ground()
    )
}

fn keep_journal(stage: &Stage) -> anyhow::Result<()> {
    let (calls, executions, owners) =
        (stage.journal.calls(), stage.journal.executions(), stage.journal.owners());
    let mut text = String::new();
    text.extend(calls.iter().map(|call| format!("{call:?}\n")));
    text.extend(executions.iter().map(|execution| format!("{execution:?}\n")));
    text.extend(owners.iter().map(|owner| format!("{owner:?}\n")));
    let file = stage.cluster.scratch().path().join("journal.txt");
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}
