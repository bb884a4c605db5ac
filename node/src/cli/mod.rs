//! The command line: what can be asked, in what words the answer comes, and the exit codes.

mod access;
mod broadcast;
mod client;
mod cluster;
mod completions;
mod config;
mod devices;
mod doctor;
mod drain;
mod exit;
mod groups;
mod health;
mod invoke;
mod local;
mod log;
mod nodes;
mod output;
mod prestop;
mod rebalance;
mod records;
mod recover;
mod route;
mod rules;
mod sent;
mod serve;
mod shrink;
mod snapshot;
mod tls;
mod token;
mod words;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::dev::{self, DevArgs};

pub use exit::{CliError, Exit};

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    the cluster or the device said no; the reason is on stderr
  2    the command line or the configuration is wrong
  3    no node could be reached
  4    the backup is damaged
  70   the node had to stop because of a fault
  130  interrupted";

/// A gateway for calls to devices behind long connections.
#[derive(Debug, Parser)]
#[command(name = "rollcall", version, after_help = EXIT_CODES, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node.
    Serve(serve::Serve),
    /// Run three nodes and demo devices on this machine, to look at and to break.
    Dev(DevArgs),
    /// Call a device and print its answer.
    Invoke(invoke::Invoke),
    /// Call every device of a group, and print each answer as it comes.
    Broadcast(broadcast::Broadcast),
    /// Look at devices, register them, or end their sessions.
    #[command(subcommand)]
    Devices(devices::Devices),
    /// Look at groups, and say what holds for calls to them.
    #[command(subcommand)]
    Groups(groups::Groups),
    /// Look at the cluster's nodes; remove, promote or demote them.
    #[command(subcommand)]
    Nodes(nodes::Nodes),
    /// Look at the cluster itself, or hand leadership over.
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Empty a node and stop it: devices move, leadership goes, calls in flight end.
    Drain(drain::Drain),
    /// Move devices from nodes that have many to those that have few.
    Rebalance(rebalance::Rebalance),
    /// Ask every node how it is, and say what to do about what is wrong.
    Doctor(doctor::Doctor),
    /// Ask the node on this machine whether it is alive or ready, for probes.
    Health(health::Health),
    /// Wait until the node on this machine may be stopped without the loss of a quorum.
    Prestop(prestop::Prestop),
    /// Look at what a node logs, or change it.
    #[command(subcommand)]
    Log(log::Log),
    /// Save the registry to a file, look at such a file, restore a cluster from one.
    #[command(subcommand)]
    Snapshot(snapshot::Snapshot),
    /// Ask why a device can or cannot be reached.
    #[command(subcommand)]
    Route(route::Route),
    /// Look at who may do what, or store it for all nodes.
    #[command(subcommand)]
    Access(rules::Rules),
    /// Make certificates for trials.
    #[command(subcommand)]
    Tls(tls::Tls),
    /// Make tokens for small set-ups.
    #[command(subcommand)]
    Token(token::Token),
    /// Look at the node's settings.
    #[command(subcommand)]
    Config(config::Config),
    /// Print a script with which a shell completes these commands.
    Completions(completions::Completions),
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// Why it was not done, with the exit code.
    pub async fn run(self) -> Result<ExitCode, CliError> {
        let done = match self.command {
            Command::Dev(args) => return dev::run(args).await.map_err(CliError::from),
            Command::Serve(command) => Box::pin(command.run()).await,
            Command::Invoke(command) => command.run().await,
            Command::Broadcast(command) => return command.run().await,
            Command::Devices(command) => command.run().await,
            Command::Groups(command) => command.run().await,
            Command::Nodes(command) => command.run().await,
            Command::Cluster(command) => command.run().await,
            Command::Drain(command) => command.run().await,
            Command::Rebalance(command) => command.run().await,
            Command::Doctor(command) => command.run().await,
            Command::Health(command) => command.run().await,
            Command::Prestop(command) => command.run().await,
            Command::Log(command) => command.run().await,
            Command::Snapshot(command) => command.run().await,
            Command::Route(command) => command.run().await,
            Command::Access(command) => command.run().await,
            Command::Tls(command) => command.run(),
            Command::Token(command) => command.run(),
            Command::Config(command) => command.run(),
            Command::Completions(command) => command.run(),
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}
