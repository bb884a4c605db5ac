//! `bench router`: calls through three nodes, beside a raw tonic echo on the same cores.

pub(crate) mod devices;
mod figures;
pub(crate) mod raw_echo;
mod scene;
mod stream;
mod unary;

use std::process::ExitCode;

use clap::Args;

use crate::{
    limits,
    report::{Output, Report, load_average},
};
use scene::Scene;

/// How calls are measured.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How figures are shown.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    /// Interleaved pairs per figure.
    #[arg(long, default_value_t = limits::ROUNDS)]
    rounds: usize,
    /// Only figures whose names contain this.
    #[arg(long, default_value = "")]
    only: String,
}

/// Measures calls.
///
/// # Errors
/// Something could not be started, or a call failed.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut report = Report::new("calls through three nodes on this machine", figures::declared());
    report.note(format!(
        "{} B payloads; nodes, devices and callers share {} cores; load average at the start: {}",
        limits::PAYLOAD_BYTES,
        std::thread::available_parallelism()?,
        load_average()
    ));
    let scene = Scene::start(&mut report).await?;
    for figure in figures::all() {
        if figure.names.iter().any(|name| name.contains(&options.only)) {
            for _ in 0..options.rounds {
                (figure.measure)(&scene, &mut report).await?;
            }
        }
    }
    let code = report.finish(options.output);
    scene.cluster.finish().await?;
    Ok(code)
}
