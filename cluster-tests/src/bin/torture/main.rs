//! `torture`: plays the rows of the failure matrix again and again, and says what bit and what broke.

use std::{
    cmp::Ordering,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Parser;
use rollcall_cluster_tests::{
    binaries, binaries_with_faults,
    results::{Ledger, Provenance, page, table},
    rows::{Bite, ROWS, Row, Stages, play, row},
    stage::Ground,
};

/// Plays the rows of the failure matrix again and again.
///
/// The row that is furthest from the bites it needs comes next. After the time is over the run that plays is finished.
#[derive(Debug, Parser)]
#[command(name = "torture")]
struct Cli {
    /// How long.
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// The seed of the first run; each run takes the next one.
    #[arg(long)]
    seed: Option<u64>,
    /// Only this row; may be given several times.
    #[arg(long)]
    row: Vec<u8>,
    /// On this ground rather than on the row's own in turn, as a failed run names it.
    #[arg(long, value_parser = ground)]
    ground: Option<Ground>,
    /// At most so many runs.
    #[arg(long)]
    runs: Option<u64>,
    /// Write the results to this file too, as the project keeps them.
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
}

fn ground(name: &str) -> Result<Ground, String> {
    let mut all = ROWS.iter().flat_map(|row| row.grounds.iter().copied());
    all.find(|ground| format!("{ground:?}") == name).ok_or_else(|| format!("no row plays on {name:?}"))
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ran =
        runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(torture(Cli::parse())));
    ran.unwrap_or_else(|error| {
        eprintln!("torture: {error:#}");
        ExitCode::FAILURE
    })
}

async fn torture(cli: Cli) -> anyhow::Result<ExitCode> {
    let rows: Vec<&Row> = match cli.row.as_slice() {
        [] => ROWS.iter().collect(),
        chosen => chosen.iter().map(|number| row(*number)).collect::<Result<_, _>>()?,
    };
    let first = cli.seed.unwrap_or_else(|| rand::random::<u32>().into());
    let built = binaries().await?.clone();
    if rows.iter().any(|row| row.grounds.iter().any(|ground| ground.has_faults())) {
        binaries_with_faults().await?;
    }
    let begun = Instant::now();
    let end = begun + Duration::try_from_secs_f64(cli.minutes * 60.0).context("--minutes")?;
    let (mut ledger, mut stages, mut set) = (Ledger::default(), Stages::default(), None);
    for seed in (first..).take(usize::try_from(cli.runs.unwrap_or(u64::MAX)).unwrap_or(usize::MAX)) {
        let Some(mut turn) = next(&rows, &ledger, set).filter(|_| Instant::now() < end) else { break };
        turn.ground = cli.ground.unwrap_or(turn.ground);
        set = Some(turn.ground);
        once(turn, seed, &mut stages, &mut ledger, begun).await;
    }
    // What was found is told in any case.
    let ended = stages.finish().await;
    println!("{}", table(&ledger, &rows));
    if let Some(file) = &cli.results {
        let from =
            Provenance::look(&built, first, format!("{:.1} minutes", begun.elapsed().as_secs_f64() / 60.0))?;
        ensure!(from.clean, "the tree has changes: these results are of no commit, and are not written");
        std::fs::write(file, page(&ledger, &rows, &from))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    ended?;
    Ok(if ledger.is_green(&rows) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a run plays.
#[derive(Debug, Clone, Copy)]
struct Turn<'a> {
    row: &'a Row,
    ground: Ground,
}

/// How far rows get on one ground before the next ground is set, in parts of the bites that they need.
const ROUNDS: f64 = 5.0;

/// The row that has had the smallest part of the bites it needs, in rounds: within one, rows of the ground that is set come
/// first, as setting another takes seconds. Rows that cannot be run here are left out.
fn next<'a>(rows: &[&'a Row], ledger: &Ledger, set: Option<Ground>) -> Option<Turn<'a>> {
    let turn = |row: &&'a Row| {
        let tally = ledger.tally(row.number);
        // A run that did not bite counts a little, so that a row without teeth does not starve the others.
        let bites = f64::from(tally.bit).max(f64::from(tally.runs) / 2.0);
        let progress = bites / f64::from(row.bites_wanted.max(1));
        let round = (progress * ROUNDS) as usize;
        let ground = row.grounds[round % row.grounds.len()];
        ((round, Some(ground) != set, ground as u8, progress), Turn { row, ground })
    };
    let here = rows.iter().filter(|row| ledger.tally(row.number).not_run.is_none());
    let turns = here.map(turn);
    turns
        .min_by(|(one, _), (other, _)| one.partial_cmp(other).unwrap_or(Ordering::Equal))
        .map(|(_, turn)| turn)
}

async fn once(turn: Turn<'_>, seed: u64, stages: &mut Stages, ledger: &mut Ledger, begun: Instant) {
    let at = begun.elapsed().as_secs_f64();
    let Turn { row, ground } = turn;
    let line = match play(row, ground, seed, stages).await {
        Ok(Some(outcome)) => {
            ledger.add(row, seed, &outcome);
            let bite = match &outcome.bite {
                Bite::Bit => "bit".to_owned(),
                Bite::Inconclusive(why) => format!("inconclusive: {why}"),
            };
            let broken =
                outcome.violations.iter().map(|broken| format!("\n    {broken}")).collect::<String>();
            format!("{bite}{broken}")
        }
        Ok(None) => {
            ledger.not_run(row, "its ground is not permitted here");
            "NOT RUN".to_owned()
        }
        Err(error) => {
            ledger.broke(row, seed, &format!("{error:#}"));
            format!("the harness could not play it: {error:#}")
        }
    };
    let (tally, took) = (ledger.tally(row.number), begun.elapsed().as_secs_f64() - at);
    eprintln!(
        "[{at:5.0} s] row {:2} seed {seed} ({}/{} bit, {took:.1} s): {line}",
        row.number, tally.bit, row.bites_wanted
    );
}
