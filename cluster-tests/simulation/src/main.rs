//! Runs seeds, and shows one: `simulate --from 0 --seeds 500`, `simulate --replay 17`.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use anyhow::{Result, anyhow};
use clap::Parser;
use parking_lot::Mutex;
use rollcall_simulation::{Coverage, Outcome, Planted, Reading, Scenario, run};

/// Simulates a cluster of three registries under faults, one seed after the other.
#[derive(Debug, Parser)]
#[command(name = "simulate")]
struct Arguments {
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// How many at once.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Shows all that happens with this seed instead.
    #[arg(long)]
    replay: Option<u64>,
    /// Something that is wrong on purpose.
    #[arg(long, value_enum, default_value = "nothing")]
    planted: Planted,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let scenario = |seed, trace| Scenario { seed, planted: arguments.planted, trace };
    if let Some(seed) = arguments.replay {
        let outcome = run(&scenario(seed, Reading::Lines))?;
        outcome.trace.iter().for_each(|line| println!("{line}"));
        return Ok(code(report(seed, &outcome)));
    }
    let (begun, next) = (Instant::now(), AtomicU64::new(arguments.from));
    let until = arguments.from + arguments.seeds;
    let sum = Mutex::new((Coverage::default(), 0_u64));
    let work = || -> Result<()> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= until {
                return Ok(());
            }
            let outcome = run(&scenario(seed, Reading::Hash))?;
            let mut sum = sum.lock();
            sum.0 = sum.0.and(outcome.coverage);
            sum.1 += u64::from(!report(seed, &outcome));
        }
    };
    // A seed knows nothing of other threads.
    thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.jobs.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a run panicked"))?)
    })?;
    let (covered, red) = sum.into_inner();
    let took = begun.elapsed().as_secs_f64();
    println!("{covered}");
    println!(
        "{} seeds in {took:.1} s ({:.0} a minute), {red} with violations",
        arguments.seeds,
        arguments.seeds as f64 * 60.0 / took
    );
    Ok(code(red == 0))
}

fn code(is_well: bool) -> ExitCode {
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says what came of a seed; whether all is well.
fn report(seed: u64, outcome: &Outcome) -> bool {
    println!("seed {seed}: {:016x} of {} lines", outcome.trace_hash, outcome.trace_lines);
    for violation in &outcome.violations {
        println!("  VIOLATED {violation}");
    }
    outcome.violations.is_empty()
}
