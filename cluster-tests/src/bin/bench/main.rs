//! `bench`: what Rollcall does in a second, beside what others do in the same run on the same machine.
//!
//! Nothing here is a test: it never fails for being slow. It fails when something is wrong or could not be measured.

mod children;
mod hermes;
mod limits;
mod load;
mod registry;
mod report;
mod router;
mod stats;
mod storm;

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
    /// Calls: unary, streamed, refused, large, in flight; beside a raw tonic echo, NATS and a Redis lock.
    Router(router::Options),
    /// The load under which the ancestor collapsed: outcomes, processor time, memory.
    Hermes(hermes::Options),
    /// Every device of a node that dies reconnects at once.
    Storm(storm::Options),
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
    /// A child: phones on one site.
    #[command(hide = true)]
    Phones(hermes::devices::Options),
    /// A child: devices that lose their node at the same moment.
    #[command(hide = true)]
    StormDevices(storm::devices::Options),
    /// A child: answers requests over NATS.
    #[command(hide = true)]
    NatsResponder(router::nats::Options),
    /// A child: devices that are connected and do nothing.
    #[command(hide = true)]
    IdleDevices(router::idle::Options),
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

/// As the node has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
            What::Hermes(options) => hermes::run(options).await,
            What::Phones(options) => hermes::devices::serve(options).await.map(|()| ExitCode::SUCCESS),
            What::Storm(options) => storm::run(options).await,
            What::StormDevices(options) => storm::devices::serve(options).await.map(|()| ExitCode::SUCCESS),
            What::Registry(options) => registry::run(options).await,
            What::Churn(options) => registry::churn::run(options).await,
            What::RegistryNode(options) => registry::node::serve(options).await.map(|()| ExitCode::SUCCESS),
            What::Tables { sessions } => registry::tables::measure(sessions).map(|()| ExitCode::SUCCESS),
            What::EchoServer => router::raw_echo::serve().await.map(|()| ExitCode::SUCCESS),
            What::NatsResponder(options) => router::nats::respond(options).await.map(|()| ExitCode::SUCCESS),
            What::IdleDevices(options) => router::idle::serve(options).await.map(|()| ExitCode::SUCCESS),
            What::Devices(options) => router::devices::serve(options).await.map(|()| ExitCode::SUCCESS),
        }
    });
    // A child's thread that still reads standard input would be waited for.
    runtime.shutdown_background();
    code
}
