//! `bench router`: calls through three nodes, beside a raw tonic echo, NATS and a Redis lock on the same cores.

mod added;
mod alone;
mod beside;
mod connects;
pub(crate) mod devices;
mod figures;
pub(crate) mod idle;
mod in_flight;
mod large;
pub(crate) mod memory;
pub(crate) mod nats;
mod rates;
pub(crate) mod raw_echo;
mod redis_lock;
mod scene;
mod stalled;
mod stream;
mod streams;
pub(crate) mod unary;

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
    let origin = &rollcall_cluster_tests::binaries().await?.origin;
    report.note(format!("{origin}, default features, all with the same allocator and threads"));
    let scene = Scene::start(&mut report, &options.only).await?;
    for figure in figures::all() {
        if figure.names.iter().any(|name| scene.wants(name)) {
            for _ in 0..if figure.once { 1 } else { options.rounds } {
                (figure.measure)(&scene, &mut report).await?;
            }
        }
    }
    let code = report.finish(options.output);
    scene.finish().await?;
    Ok(code)
}
