//! `bench storm`: a node dies, and all of its devices come back at once, while others call.

pub(crate) mod devices;

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Args;
use rollcall_cluster_tests::ClusterPlan;
use tokio::time::Instant;

use crate::{
    children::Helper,
    limits::{SMALL_RATE, STORM_CALLS, STORM_DEVICES},
    load,
    report::{Bound, Figure, Output, Report, load_average},
    router::{
        devices as called,
        unary::{UnaryCaller, connect, echo},
    },
};

const CALM: &str = "calls to other devices, before, p99";
const STORMY: &str = "calls to other devices, meanwhile, p99";
const BACK: &str = "until all devices are attached again";
const HALF: &str = "until half of them are";

/// How a storm is measured.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How figures are shown.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    /// Devices of the node that dies, each with a connection of its own.
    #[arg(long, default_value_t = STORM_DEVICES)]
    devices: usize,
    /// Connections of devices that each node lets in per second; the nodes' own default if it is not said.
    #[arg(long)]
    connect_rate: Option<u32>,
}

/// Measures a storm.
///
/// # Errors
/// Something could not be started, or a call failed.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let figures = vec![
        Figure::new(CALM, "µs"),
        Figure::new(STORMY, "µs").against(CALM, Bound::AtMost(2.0)),
        Figure::new(HALF, "s"),
        Figure::new(BACK, "s"),
    ];
    let mut report = Report::new("every device of one node reconnects at once", figures);
    let count = options.devices;
    report.note(format!(
        "{count} devices; nodes, devices and callers share {} cores; load average at the start: {}",
        std::thread::available_parallelism()?,
        load_average()
    ));
    let plan = ClusterPlan::of(3).beside_another();
    let plan = match options.connect_rate {
        Some(rate) => plan.flag("connect-rate", &rate.to_string()),
        None => plan,
    };
    let cluster = plan.start().await?;
    let urls = cluster.device_urls();
    let called = called::start(&urls[..2]).await?;
    // Their own node first; the others take them in.
    let mut devices =
        Helper::start(&["storm-devices".to_owned(), count.to_string(), urls[2].clone(), urls.join(",")])?;
    devices.expect("attached").await?;
    cluster.caught_up(rollcall_cluster_tests::SPREAD_PATIENCE).await?;
    let caller = UnaryCaller::new(connect(&cluster.nodes[0].api_url()).await?, echo(&called::group(1)));
    report.add(CALM, load::at_rate(caller.clone(), SMALL_RATE, STORM_CALLS).await?.percentile_us(0.99));
    let begun = Instant::now();
    cluster.nodes[2].kill9()?;
    let calls = load::at_rate(caller, SMALL_RATE, STORM_CALLS);
    let (calls, back) = tokio::join!(calls, back(&mut devices, begun));
    report.add(STORMY, calls?.percentile_us(0.99));
    let (half, all) = back?;
    report.add(HALF, half.as_secs_f64());
    report.add(BACK, all.as_secs_f64());
    let code = report.finish(options.output);
    drop((devices, called));
    cluster.nodes[2].start()?;
    cluster.finish().await?;
    Ok(code)
}

async fn back(devices: &mut Helper, since: Instant) -> anyhow::Result<(Duration, Duration)> {
    devices.expect("half").await.context("half of the devices")?;
    let half = since.elapsed();
    devices.expect("back").await.context("all devices")?;
    Ok((half, since.elapsed()))
}
