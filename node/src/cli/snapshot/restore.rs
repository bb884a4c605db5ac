//! `rollcall snapshot restore`: a new cluster from a backup.

use std::path::PathBuf;

use clap::Args;
use rollcall_registry::backup::{BackupFile, Place, restore};

use super::{blocking, print_new_cluster};
use crate::cli::{CliError, output::Output};

/// `rollcall snapshot restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// The backup
    file: PathBuf,
    /// The data folder of the new cluster's first node: empty, or not there yet
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The name of that node, the same as `serve` gets later
    #[arg(long)]
    name: String,
    /// Where other nodes will reach it [default: as it says itself when it starts]
    #[arg(long, value_name = "HOST:PORT", default_value = "", hide_default_value = true)]
    peer_addr: String,
    #[command(flatten)]
    output: Output,
}

impl Restore {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let data_dir = self.data_dir.display().to_string();
        let place = Place { data_dir: self.data_dir, name: self.name, peer_addr: self.peer_addr };
        let restored = blocking(move || restore(&BackupFile::open(&self.file)?, &place)).await?;
        print_new_cluster(&restored?, &data_dir, self.output.output)
    }
}
