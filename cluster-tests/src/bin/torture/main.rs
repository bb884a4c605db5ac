//! `torture`: plays the rows of the failure matrix again and again, and says what bit and what broke.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Parser;
use rollcall_cluster_tests::{
    binaries, binaries_with_faults,
    results::{Ledger, Provenance, check_page, page, table, verdict},
    rows::{Bite, Outcome, ROWS, Row, Schedule, Stages, Turn, play, row},
    stage::Ground,
};
use tokio::time::timeout;

/// Plays the rows of the failure matrix again and again.
///
/// The row that is furthest from the bites it needs comes next. None begins that would not end in time, as long as runs take
/// so far; one that takes longer is cut off before a minute more is over.
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
    let needs_faults = rows.iter().any(|row| row.grounds.iter().any(|ground| ground.has_faults()));
    let with_faults = if needs_faults { Some(binaries_with_faults().await?) } else { None };
    // As it was when the programs were built: the tree may go on meanwhile.
    let from = match cli.results {
        Some(_) => Some(Provenance::look(&built, with_faults, first)?),
        None => None,
    };
    let begun = Instant::now();
    let end = begun + Duration::try_from_secs_f64(cli.minutes * 60.0).context("--minutes")?;
    let (mut ledger, mut stages, mut schedule) = (Ledger::default(), Stages::default(), Schedule::new(&rows));
    for seed in (first..).take(usize::try_from(cli.runs.unwrap_or(u64::MAX)).unwrap_or(usize::MAX)) {
        let left = end.saturating_duration_since(Instant::now());
        let Some(mut turn) = schedule.next(&ledger, left).filter(|_| !left.is_zero()) else { break };
        turn.ground = cli.ground.unwrap_or(turn.ground);
        let at = Instant::now();
        let line = match timeout(left + OVERTIME, play(turn.row, turn.ground, seed, &mut stages)).await {
            Ok(played) => account(turn, seed, played, &mut ledger),
            Err(_) => cut_off(turn, seed, &mut ledger),
        };
        schedule.took(turn.row, at.elapsed());
        let (row, tally) = (turn.row, ledger.tally(turn.row.number));
        eprintln!(
            "[{:5.0} s, {:.0} min to do] row {:2} seed {seed} ({}/{} bit, {:.1} s): {line}",
            (at - begun).as_secs_f64(),
            schedule.to_do(&ledger).as_secs_f64() / 60.0,
            row.number,
            tally.bit,
            row.bites_wanted,
            at.elapsed().as_secs_f64()
        );
    }
    // What was found is told in any case.
    let ended = stages.finish().await;
    println!("{}\n{}", table(&ledger, &rows), verdict(&ledger, &rows));
    if let (Some(file), Some(from)) = (&cli.results, &from) {
        let page = page(&ledger, &rows, from, begun.elapsed());
        check_page(&page).context("these results are not written")?;
        std::fs::write(file, page).with_context(|| format!("cannot write {}", file.display()))?;
    }
    ended?;
    Ok(if ledger.is_green(&rows) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a run that lasts beyond the end is given, so that its nodes are gone and all is told within a minute of the end.
const OVERTIME: Duration = Duration::from_secs(40);

/// Writes down how a run went; in words.
fn account(
    Turn { row, .. }: Turn<'_>,
    seed: u64,
    played: anyhow::Result<Option<Outcome>>,
    ledger: &mut Ledger,
) -> String {
    match played {
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
    }
}

fn cut_off(turn: Turn<'_>, seed: u64, ledger: &mut Ledger) -> String {
    let cut_off = Outcome::new(Bite::Inconclusive("cut off, as the time was over".to_owned()), Vec::new());
    account(turn, seed, Ok(Some(cut_off)), ledger)
}
