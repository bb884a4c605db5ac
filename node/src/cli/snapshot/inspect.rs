//! `rollcall snapshot inspect`: checks a backup, and says what it holds.

use std::path::PathBuf;

use clap::Args;
use rollcall_registry::backup::BackupFile;

use super::{blocking, print_backup};
use crate::cli::{CliError, output::Output};

/// `rollcall snapshot inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The backup; a damaged one ends the command with exit code 4
    file: PathBuf,
    #[command(flatten)]
    output: Output,
}

impl Inspect {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let backup = blocking(move || BackupFile::open(&self.file)).await??;
        print_backup(&backup, self.output.output)
    }
}
