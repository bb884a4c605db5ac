//! A child process: its log, its signals, its end.

use std::{
    ffi::OsString,
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{limits, wait::wait_until, warden};

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts a program whose output goes to `log`.
    ///
    /// Variables named `ROLLCALL_*` are taken from it: they would be settings.
    ///
    /// # Errors
    /// The program or the log cannot be opened.
    pub fn spawn(name: &str, program: &Path, arguments: &[OsString], log: &Path) -> anyhow::Result<Self> {
        Self::spawn_with(name, program, arguments, log, None)
    }

    /// As [`Process::spawn`], with a variable in its environment.
    ///
    /// # Errors
    /// As [`Process::spawn`].
    pub(crate) fn spawn_with(
        name: &str,
        program: &Path,
        arguments: &[OsString],
        log: &Path,
        variable: Option<(&str, &Path)>,
    ) -> anyhow::Result<Self> {
        let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(program);
        command.args(arguments).process_group(0).stdin(Stdio::null());
        command.stdout(output.try_clone()?).stderr(output);
        forget_settings(&mut command);
        command.envs(variable);
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        warden::watch(child.id());
        Ok(Self { name: name.to_owned(), child, log: log.to_owned(), ended: None })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It has ended already.
    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        if let Some(status) = self.ended()? {
            bail!("{} has ended already: {status}\n{}", self.name, self.log_tail());
        }
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("no such process id")?;
        kill_process(pid, signal).with_context(|| format!("cannot send {signal:?} to {}", self.name))
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The system's.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
            if self.ended.is_some() {
                warden::forget(self.pid());
            }
        }
        Ok(self.ended)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It still runs after `patience`.
    pub async fn wait(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let what = format!("{} ends", self.name);
        wait_until(&what, patience, async || match self.ended()? {
            Some(status) => Ok(status),
            None => bail!("it still runs\n{}", self.log_tail()),
        })
        .await
    }

    /// Ends it at once and for certain, with SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.ended = self.child.wait().ok();
        warden::forget(self.pid());
    }

    /// All it has printed.
    pub fn output(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines it has printed.
    pub fn log_tail(&self) -> String {
        let output = self.output();
        let lines: Vec<_> = output.lines().collect();
        let tail = &lines[lines.len().saturating_sub(limits::LOG_TAIL_LINES)..];
        format!("the end of {}:\n  {}", self.log.display(), tail.join("\n  "))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.kill();
        }
    }
}

/// Takes variables that would be settings from a command's environment.
pub(crate) fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROLLCALL_") {
            command.env_remove(name);
        }
    }
}
