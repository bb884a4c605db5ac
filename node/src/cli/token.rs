//! `rollcall token make`: a static token, whose hash alone the nodes know.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{Args, Subcommand};
use sha2::{Digest, Sha256};

use super::{CliError, output::print};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token: it goes into a file, and what the nodes are to know of it to the standard output, for the file of `access`
    Make(Make),
}

/// `rollcall token make`.
#[derive(Debug, Args)]
pub struct Make {
    /// What the file of `access` is to call whoever shows the token: `token:NAME`
    #[arg(value_name = "NAME")]
    name: String,
    /// File for the token, which its owner alone may read; it must not be there
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
}

/// So that whoever finds one in the wrong place knows what it is.
const PREFIX: &str = "rollcall_";

impl Token {
    pub(super) fn run(self) -> Result<(), CliError> {
        let Self::Make(make) = self;
        make.run()
    }
}

impl Make {
    fn run(self) -> Result<(), CliError> {
        let plain = self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !plain || self.name.is_empty() {
            return Err(CliError::Usage("a name has letters, digits, `-`, `_` and `.`".to_owned()));
        }
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.out)
            .and_then(|mut file| writeln!(file, "{token}"));
        written.map_err(|error| CliError::Io(format!("cannot write {}: {error}", self.out.display())))?;
        let digest = Sha256::digest(token.as_bytes());
        print(&format!("[[tokens]]\nname = \"{}\"\nsha256 = \"{digest:x}\"", self.name))?;
        Ok(())
    }
}
