//! `bench`: what Rollcall does in a second, beside what others do in the same run on the same machine.
//!
//! Nothing here is a test: it never fails for being slow. It fails when something is wrong or could not be measured.

mod children;
mod limits;
mod load;
mod registry;
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
    /// Durable changes of sessions, beside etcd and Redis; look-ups; snapshots.
    Registry(registry::Options),
    /// Sessions that open and close for minutes: memory and disk.
    Churn(registry::churn::Options),
    /// A child: answers calls as a plain tonic server would.
    #[command(hide = true)]
    EchoServer,
    /// A child: devices that answer calls.
    #[command(hide = true)]
    Devices(router::devices::Options),
    /// A child: a registry and those who open and close its sessions.
    #[command(hide = true)]
    RegistryNode(registry::node::Options),
    /// A child: the registry's tables alone.
    #[command(hide = true)]
    Tables {
        /// How many sessions.
        sessions: u64,
    },
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
            What::Registry(options) => registry::run(options).await,
            What::Churn(options) => registry::churn::run(options).await,
            What::RegistryNode(options) => registry::node::serve(options).await.map(|()| ExitCode::SUCCESS),
            What::Tables { sessions } => registry::tables::measure(sessions).map(|()| ExitCode::SUCCESS),
            What::EchoServer => router::raw_echo::serve().await.map(|()| ExitCode::SUCCESS),
            What::Devices(options) => router::devices::serve(options).await.map(|()| ExitCode::SUCCESS),
        }
    });
    // A child's thread that still reads standard input would be waited for.
    runtime.shutdown_background();
    code
}
