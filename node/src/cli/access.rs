//! How the commands come in: whom they trust, and as whom they speak.

use std::path::PathBuf;

use clap::Args;
use rollcall_transport::{Access, AccessFiles, IdentityFiles};

use super::CliError;

/// Whom the commands trust, and as whom they speak.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Access")]
pub(super) struct AccessArgs {
    /// PEM file with the authorities whose nodes are trusted, for https:// addresses; by default the system's
    #[arg(long, env = "ROLLCALL_CA", value_name = "PATH")]
    ca: Option<PathBuf>,
    /// PEM file with one's own certificate
    #[arg(long, env = "ROLLCALL_CERT", value_name = "PATH", requires = "key")]
    cert: Option<PathBuf>,
    /// PEM file with its key
    #[arg(long, env = "ROLLCALL_KEY", value_name = "PATH", requires = "cert")]
    key: Option<PathBuf>,
    /// File with one's token and nothing else
    #[arg(long, env = "ROLLCALL_TOKEN_FILE", value_name = "PATH")]
    token_file: Option<PathBuf>,
}

impl AccessArgs {
    /// Reads the files.
    ///
    /// # Errors
    /// One is not right.
    pub(super) fn load(&self) -> Result<Access, CliError> {
        let own = self.cert.clone().zip(self.key.clone());
        let identity = own.map(|(certificate, key)| IdentityFiles { certificate, key });
        let files = AccessFiles { ca: self.ca.clone(), identity, token: self.token_file.clone() };
        Access::load(files).map_err(|error| CliError::Usage(error.to_string()))
    }
}
