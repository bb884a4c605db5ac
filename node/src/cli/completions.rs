//! `rollcall completions`: what a shell needs to complete the commands.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, CliError, output};

/// `rollcall completions`.
///
/// Prints a script for the shell. bash: `source <(rollcall completions bash)`, or write it to
/// /etc/bash_completion.d/rollcall; zsh: write it to a file `_rollcall` in a folder of $fpath; fish: to
/// ~/.config/fish/completions/rollcall.fish.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self) -> Result<(), CliError> {
        // Not straight to stdout: a reader that goes away is no reason to panic.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "rollcall", &mut script);
        Ok(output::print(String::from_utf8_lossy(&script).trim_end())?)
    }
}
