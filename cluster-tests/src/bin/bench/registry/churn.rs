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
use crate::limits::{CHURN_GROWTH_PERCENT, CHURN_LINE, OUTSTANDING};

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
    writeln!(progress, "# {}", rollcall_cluster_tests::build_under_test()?)?;
    writeln!(progress, "seconds\tchanges_per_s\tresident_mib\tdisk_mib")?;
    eprintln!("progress goes to {path}");
    let mut lines = Vec::new();
    let mut registries = Registries::start().await?;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(options.minutes * 60) {
        let rate = registries.rate(OUTSTANDING, CHURN_LINE.as_millis()).await?;
        let (resident, disk) = registries.footprint()?;
        let seconds = begun.elapsed().as_secs();
        let line = format!("{seconds}\t{rate:.0}\t{}\t{}", resident >> 20, disk >> 20);
        writeln!(progress, "{line}")?;
        eprintln!("{line}");
        lines.push((resident, disk));
    }
    registries.finish().await?;
    let (resident, disk): (Vec<u64>, Vec<u64>) = lines.into_iter().unzip();
    for (what, bytes) in [("resident memory", resident), ("disk", disk)] {
        let verdict = verdict(&bytes);
        writeln!(progress, "# {what}: {verdict}")?;
        println!("{what} of all three nodes: {verdict}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether something grew: the most of the last third of the time against the most of the third before, which has seen
/// several snapshots and purges.
fn verdict(bytes: &[u64]) -> String {
    let third = bytes.len() / 3;
    if third == 0 {
        return "too short to tell".to_owned();
    }
    let most = |of: &[u64]| of.iter().copied().max().unwrap_or(0);
    let (before, last) = (most(&bytes[third..2 * third]), most(&bytes[2 * third..]));
    let growth = (last as f64 / before.max(1) as f64 - 1.0) * 100.0;
    let verdict = if growth <= CHURN_GROWTH_PERCENT { "reached" } else { "MISSED" };
    format!("at most {} MiB, then {} MiB: {growth:+.1} %; goal flat: {verdict}", before >> 20, last >> 20)
}

#[cfg(test)]
mod tests {
    use super::verdict;

    #[test]
    fn what_grows_in_the_last_third_is_not_flat() {
        let mib = |sizes: [u64; 6]| sizes.map(|size| size << 20);
        assert!(verdict(&mib([90, 100, 300, 310, 290, 305])).contains("reached"));
        assert!(verdict(&mib([90, 100, 300, 310, 330, 360])).contains("MISSED"));
        assert_eq!(verdict(&[1, 2]), "too short to tell");
    }
}
