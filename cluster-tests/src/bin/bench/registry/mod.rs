//! `bench registry`: durable changes of sessions, beside etcd and Redis on the same disk; and the tables themselves.

mod attach;
mod batcher;
mod etcd;
mod figures;
pub(crate) mod node;
pub(crate) mod peer_process;
pub(crate) mod redis;
mod subject;
pub(crate) mod tables;

pub(crate) mod churn;

use std::process::ExitCode;

use clap::Args;

use crate::{
    limits,
    report::{Output, Report, load_average},
};

/// How the registry is measured.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How figures are shown.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    /// Interleaved pairs per figure.
    #[arg(long, default_value_t = limits::ROUNDS)]
    rounds: usize,
    /// Only what contains this: changes, attaches, tables.
    #[arg(long, default_value = "")]
    only: String,
}

/// Measures the registry.
///
/// # Errors
/// Something could not be started, or a change failed.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut report = Report::new("the registry: three nodes on this machine, fsync on", figures::declared());
    report.note(format!(
        "nodes, callers and peers share {} cores and one disk; load average at the start: {}",
        std::thread::available_parallelism()?,
        load_average()
    ));
    report.note(rollcall_cluster_tests::build_under_test()?);
    let wanted = |part: &str| part.contains(&options.only);
    if wanted("changes") {
        figures::changes(&mut report, options.rounds).await?;
    }
    if wanted("attaches") {
        figures::attaches(&mut report, options.rounds).await?;
    }
    if wanted("tables") {
        figures::tables(&mut report).await?;
    }
    Ok(report.finish(options.output))
}
