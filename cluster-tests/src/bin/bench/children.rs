//! Other processes of this very program, spoken to in lines: a command in, an answer out.
//!
//! A child ends when its standard input does, so that none outlives this process, whatever ends it.

use std::process::Stdio;

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::limits::CHILD_PATIENCE;

/// A running child.
#[derive(Debug)]
pub(crate) struct Helper {
    name: String,
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Helper {
    /// Starts this program with these arguments.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> anyhow::Result<Self> {
        let name = arguments.iter().map(|one| one.as_ref().to_string_lossy()).next().unwrap_or_default();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let input = child.stdin.take().context("no standard input")?;
        let output = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        Ok(Self { name: name.into_owned(), child, input, output })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a command.
    ///
    /// # Errors
    /// The child has ended.
    pub(crate) async fn say(&mut self, line: &str) -> anyhow::Result<()> {
        let said = self.input.write_all(format!("{line}\n").as_bytes()).await;
        said.with_context(|| format!("{} has ended", self.name))
    }

    /// Its next line.
    ///
    /// # Errors
    /// It says nothing in time, or has ended.
    pub(crate) async fn hear(&mut self) -> anyhow::Result<String> {
        let heard = timeout(CHILD_PATIENCE, self.output.next_line()).await;
        let line = heard.with_context(|| format!("{} says nothing", self.name))??;
        line.with_context(|| format!("{} has ended", self.name))
    }

    /// Ends it, and waits for its end.
    ///
    /// # Errors
    /// The system's.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Waits for a line.
    ///
    /// # Errors
    /// It says something else, or nothing.
    pub(crate) async fn expect(&mut self, line: &str) -> anyhow::Result<()> {
        let heard = self.hear().await?;
        ensure!(heard == line, "{} says {heard:?} and not {line:?}", self.name);
        Ok(())
    }
}

/// A child's side: says a line.
pub(crate) fn say(line: impl std::fmt::Display) {
    use std::io::Write;
    // Whoever does not listen has ended, and the end of standard input says so too.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A child's side: the commands, until the parent is gone.
pub(crate) fn commands() -> Lines<BufReader<tokio::io::Stdin>> {
    BufReader::new(tokio::io::stdin()).lines()
}
