//! The `rollcall-agent` binary: options, log, signals, agent. Everything else is the library's.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use rollcall_agent::cli::{self, Options};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    options.log().context("cannot set up the log")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    cli::run(options, stop).await
}
