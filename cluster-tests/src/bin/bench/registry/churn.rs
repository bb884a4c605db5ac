//! `bench churn`: sessions open and close for minutes; memory and disk must stay flat.

use std::{
    fs::File,
    io::Write,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;

use super::batcher::Registries;
use crate::limits::{CHURN_LINE, OUTSTANDING};

/// How long, and where to.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long sessions open and close.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Where progress is written, a line each ten seconds.
    #[arg(long, default_value = "bench-churn.tsv")]
    progress: PathBuf,
}

/// Opens and closes, and writes down what it costs.
///
/// # Errors
/// A change failed; the file cannot be written.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let path = options.progress.display();
    let mut progress = File::create(&options.progress).with_context(|| format!("cannot write {path}"))?;
    writeln!(progress, "seconds\tchanges_per_s\tresident_mib\tdisk_mib")?;
    eprintln!("progress goes to {path}");
    let mut registries = Registries::start().await?;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(options.minutes * 60) {
        let rate = registries.rate(OUTSTANDING, CHURN_LINE.as_millis()).await?;
        let (resident, disk) = registries.footprint()?;
        let seconds = begun.elapsed().as_secs();
        let line = format!("{seconds}\t{rate:.0}\t{}\t{}", resident >> 20, disk >> 20);
        writeln!(progress, "{line}")?;
        eprintln!("{line}");
    }
    registries.finish().await?;
    Ok(ExitCode::SUCCESS)
}
