//! `bench`: what Rollcall does in a second, beside what others do in the same run on the same machine.
//!
//! Nothing here is a test: it never fails for being slow. It fails when something is wrong or could not be measured.

mod children;
mod limits;
mod load;
mod report;
mod router;
mod stats;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures Rollcall and its peers, side by side.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Calls: unary, streamed, refused, large; beside a raw tonic echo.
    Router(router::Options),
    /// A child: answers calls as a plain tonic server would.
    #[command(hide = true)]
    EchoServer,
    /// A child: devices that answer calls.
    #[command(hide = true)]
    Devices(router::devices::Options),
}

fn main() -> ExitCode {
    run(Cli::parse()).unwrap_or_else(|error| {
        eprintln!("bench: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    // As the node does, so that everything that is compared has the same threads.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        match cli.what {
            What::Router(options) => router::run(options).await,
            What::EchoServer => router::raw_echo::serve().await.map(|()| ExitCode::SUCCESS),
            What::Devices(options) => router::devices::serve(options).await.map(|()| ExitCode::SUCCESS),
        }
    });
    // A child's thread that still reads standard input would be waited for.
    runtime.shutdown_background();
    code
}
