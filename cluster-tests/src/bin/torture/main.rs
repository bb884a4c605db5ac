//! `torture`: plays the rows of the failure matrix again and again, and says what bit and what broke.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Parser;
use rollcall_cluster_tests::{
    binaries,
    results::{Ledger, Provenance, page, table},
    rows::{Bite, ROWS, Row, Stages, play, row},
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
    /// At most so many runs.
    #[arg(long)]
    runs: Option<u64>,
    /// Write the results to this file too, as the project keeps them.
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
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
    let begun = Instant::now();
    let end = begun + Duration::try_from_secs_f64(cli.minutes * 60.0).context("--minutes")?;
    let (mut ledger, mut stages) = (Ledger::default(), Stages::default());
    for seed in (first..).take(usize::try_from(cli.runs.unwrap_or(u64::MAX)).unwrap_or(usize::MAX)) {
        let Some(row) = next(&rows, &ledger).filter(|_| Instant::now() < end) else { break };
        once(row, seed, &mut stages, &mut ledger, begun).await;
    }
    stages.finish().await?;
    println!("{}", table(&ledger, &rows));
    if let Some(file) = &cli.results {
        let from =
            Provenance::look(&built, first, format!("{:.1} minutes", begun.elapsed().as_secs_f64() / 60.0))?;
        ensure!(from.clean, "the tree has changes: these results are of no commit, and are not written");
        std::fs::write(file, page(&ledger, &rows, &from))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(if ledger.is_green(&rows) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The row that has had the smallest part of the bites it needs; rows that cannot be run here are left out.
fn next<'a>(rows: &[&'a Row], ledger: &Ledger) -> Option<&'a Row> {
    let progress = |row: &Row| {
        let tally = ledger.tally(row.number);
        // A run that did not bite counts a little, so that a row without teeth does not starve the others.
        f64::from(tally.bit).max(f64::from(tally.runs) / 2.0) / f64::from(row.bites_wanted.max(1))
    };
    let here = rows.iter().filter(|row| ledger.tally(row.number).not_run.is_none());
    here.min_by(|one, other| progress(one).total_cmp(&progress(other))).copied()
}

async fn once(row: &Row, seed: u64, stages: &mut Stages, ledger: &mut Ledger, begun: Instant) {
    let at = begun.elapsed().as_secs_f64();
    let line = match play(row, seed, stages).await {
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
