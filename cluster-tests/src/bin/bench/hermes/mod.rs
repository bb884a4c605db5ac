//! `bench hermes`: the load under which Rollcall's ancestor collapsed: 50 phones, short signatures and calls of 20 s with
//! 500 KB replies, apps that restart, and an access point that takes 20 phones away for a minute.

mod calls;
pub(crate) mod devices;
mod nodes;
mod tally;

use std::{process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use rollcall_cluster_tests::ClusterPlan;
use tokio::time::sleep;

use crate::{
    limits::{HERMES_AFTER, HERMES_CALM, HERMES_DEAD},
    report::{Bound, Figure, Output, Report, load_average},
};
use calls::Load;
use devices::Sites;
use nodes::Account;
use tally::{Kind, Phase, Tally};

const LATE: &str = "calls answered past their deadline";
const CALM_GOOD: &str = "signatures of the 30, before: answered";
const DEAD_GOOD: &str = "signatures of the 30, meanwhile: answered";
const CALM_P99: &str = "signatures of the 30, before, p99";
const DEAD_P99: &str = "signatures of the 30, meanwhile, p99";
const BUSINESS: &str = "business calls of the 30, meanwhile: answered";
const CPU: &str = "processor time of three nodes, of one core";
const RSS: &str = "memory of three nodes at most";

/// How the ancestor's load is measured.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How figures are shown.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    /// How long 20 of the devices are dead, in seconds.
    #[arg(long, default_value_t = HERMES_DEAD.as_secs())]
    dead_s: u64,
}

fn declared() -> Vec<Figure> {
    use Bound::{AtLeast, AtMost};
    vec![
        Figure::new(LATE, "calls").goal(AtMost(0.0)),
        Figure::new(CALM_GOOD, "%"),
        Figure::new(DEAD_GOOD, "%").against(CALM_GOOD, AtLeast(0.999)),
        Figure::new(CALM_P99, "µs"),
        Figure::new(DEAD_P99, "µs").against(CALM_P99, AtMost(2.0)),
        Figure::new(BUSINESS, "%"),
        Figure::new(CPU, "%"),
        Figure::new(RSS, "MiB").goal(AtMost(4_096.0)),
    ]
}

/// Measures the ancestor's load.
///
/// # Errors
/// Something could not be started.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut report =
        Report::new("50 phones, 2,000 signatures/s and 250 business calls/s of 20 s", declared());
    report.note(format!(
        "nodes, devices and callers share {} cores; load average at the start: {}",
        std::thread::available_parallelism()?,
        load_average()
    ));
    let cluster = ClusterPlan::of(3).beside_another().start().await?;
    let sites = Sites::start(&cluster.device_urls()).await?;
    cluster.caught_up(rollcall_cluster_tests::SPREAD_PATIENCE).await?;
    let tally = Arc::new(Tally::default());
    let load = Load::start(&cluster, Arc::clone(&tally)).await?;
    let account = Account::start(&cluster)?;
    sleep(HERMES_CALM).await;
    tally.enter(Phase::Dead);
    sites.kill_access_point()?;
    sleep(Duration::from_secs(options.dead_s)).await;
    sites.mend_access_point()?;
    tally.enter(Phase::After);
    sleep(HERMES_AFTER).await;
    load.finish().await;
    let (cpu, rss) = account.finish().await?;
    tally.outcomes().into_iter().for_each(|line| report.note(line));
    report.add(LATE, tally.late() as f64);
    report.add(CALM_GOOD, tally.answered(Kind::Signature, Phase::Calm) * 100.0);
    report.add(DEAD_GOOD, tally.answered(Kind::Signature, Phase::Dead) * 100.0);
    report.add(CALM_P99, tally.p99_us(Kind::Signature, Phase::Calm));
    report.add(DEAD_P99, tally.p99_us(Kind::Signature, Phase::Dead));
    report.add(BUSINESS, tally.answered(Kind::Business, Phase::Dead) * 100.0);
    report.add(CPU, cpu * 100.0);
    report.add(RSS, rss / 1_024.0 / 1_024.0);
    let code = report.finish(options.output);
    drop(sites);
    cluster.finish().await?;
    Ok(code)
}
