//! `rollcall tls init`: certificates for trials, made here. For production an authority of your own makes them.

mod authority;
mod leaf;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::CliError;
use authority::Authority;
use leaf::Leaf;

/// What to do with certificates.
#[derive(Debug, Subcommand)]
pub enum Tls {
    /// Make an authority for nodes, one for clients, and certificates of both; or more of them, by the authorities that
    /// are there. Certificates of the same name are replaced
    Init(Init),
}

/// `rollcall tls init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Folder for the files; made if it is not there
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// A node, and the hosts by which it is reached besides localhost; repeatable
    #[arg(long, value_name = "NAME[=HOST,...]", value_parser = leaf::node)]
    node: Vec<Leaf>,
    /// A service or a device, by the name that its certificate gives it; repeatable
    #[arg(long, value_name = "NAME", value_parser = leaf::client)]
    client: Vec<Leaf>,
    /// How many days the certificates hold; an authority that is made holds ten times as long
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(0..=3650))]
    days: u32,
}

impl Tls {
    pub(super) fn run(self) -> Result<(), CliError> {
        let Self::Init(init) = self;
        init.run().map_err(|error| CliError::Io(format!("{error:#}")))
    }
}

impl Init {
    fn run(self) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let nodes = Authority::open_or_make(&self.folder, "ca", "Rollcall nodes", self.days)?;
        let clients = Authority::open_or_make(&self.folder, "client-ca", "Rollcall clients", self.days)?;
        for leaf in &self.node {
            nodes.issue(&self.folder, leaf, self.days)?;
        }
        for leaf in &self.client {
            clients.issue(&self.folder, leaf, self.days)?;
        }
        println!("certificates for trials are in {}", self.folder.display());
        Ok(())
    }
}
