//! The commands as people and scripts run them.

use std::{
    ffi::OsString,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::{Process, Scratch, binaries, process::forget_settings};

/// The `rollcall` command.
#[derive(Debug, Clone)]
pub struct Cli {
    program: PathBuf,
}

/// How a command ran.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its exit code. Absent: a signal ended it.
    pub code: Option<i32>,
    /// What it said.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Ran {
    /// Its output as JSON.
    ///
    /// # Errors
    /// It failed, or printed something else.
    pub fn json(&self) -> anyhow::Result<Value> {
        ensure!(self.code == Some(0), "it failed: {self:?}");
        serde_json::from_str(&self.stdout).with_context(|| format!("no JSON: {self:?}"))
    }
}

impl Cli {
    /// The command, built if necessary.
    ///
    /// # Errors
    /// It does not build.
    pub async fn new() -> anyhow::Result<Self> {
        Ok(Self { program: binaries().await?.rollcall.clone() })
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// It cannot be started, or does not end within 30 s.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<Ran> {
        self.run_with_input(arguments, "").await
    }

    /// Runs it to its end with `input` on its standard input.
    ///
    /// # Errors
    /// It cannot be started, or does not end within 30 s.
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> anyhow::Result<Ran> {
        let mut command = Command::new(&self.program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        forget_settings(&mut command);
        let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await.ok();
        }
        let output = tokio::time::timeout(Duration::from_secs(30), child.wait_with_output()).await;
        let output = output.with_context(|| format!("rollcall {arguments:?} does not end"))??;
        Ok(Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Starts it and leaves it running.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, name: &str, arguments: &[OsString], scratch: &Scratch) -> anyhow::Result<Process> {
        Process::spawn(name, &self.program, arguments, &scratch.path().join(format!("{name}.log")))
    }
}
