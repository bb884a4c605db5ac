//! The three processes: started, watched, stopped.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{process, time::timeout};

use super::{
    layout::{Layout, Place},
    limits,
    terminal::Terminal,
};

/// The nodes' processes; killed when dropped.
#[derive(Debug)]
pub(super) struct Children {
    program: PathBuf,
    children: Vec<Child>,
}

#[derive(Debug)]
struct Child {
    name: String,
    pid: u32,
    process: process::Child,
    arguments: Vec<String>,
    log: PathBuf,
    ended: bool,
}

impl Children {
    /// Starts a node of this very executable at each place.
    pub(super) fn start(layout: &Layout, home: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this executable")?;
        let children = layout.nodes.iter().map(|node| Child::start(&program, layout, node, home));
        Ok(Self { children: children.collect::<anyhow::Result<_>>()?, program })
    }

    /// The names and process ids, in a line.
    pub(super) fn pids(&self) -> String {
        let named: Vec<_> =
            self.children.iter().map(|child| format!("{} (pid {})", child.name, child.pid)).collect();
        named.join(", ")
    }

    /// A node's process id, if it has not ended.
    pub(super) fn pid(&self, name: &str) -> Option<u32> {
        self.children.iter().find(|child| child.name == name && !child.ended).map(|child| child.pid)
    }

    /// The command that starts a node by hand.
    pub(super) fn command(&self, name: &str) -> Option<String> {
        let child = self.children.iter().find(|child| child.name == name)?;
        Some(format!("{} {}", shown_program(&self.program), child.arguments.join(" ")))
    }

    /// Waits until a process ends by itself: its node's name, its id and how it ended. Never when none is left.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn one_ended(&mut self) -> (String, u32, ExitStatus) {
        let waits = self.children.iter_mut().filter(|child| !child.ended).map(|child| {
            Box::pin(async move {
                let status = child.process.wait().await;
                child.ended = true;
                (child.name.clone(), child.pid, status.unwrap_or_default())
            })
        });
        let waits: Vec<_> = waits.collect();
        if waits.is_empty() {
            return std::future::pending().await;
        }
        futures::future::select_all(waits).await.0
    }

    /// Asks all to stop, waits, and kills what does not.
    pub(super) async fn stop(&mut self, terminal: &Terminal) {
        for child in &mut self.children {
            child.ask_to_stop();
        }
        for child in &mut self.children {
            if !child.stopped_within(limits::STOP_PATIENCE).await {
                terminal.say(format!("{} does not stop and is killed", child.name));
                let _ = child.process.kill().await;
            }
        }
        terminal.say("all nodes have stopped".to_owned());
    }

    /// The ends of all logs.
    pub(super) fn log_tails(&self) -> String {
        self.children.iter().map(Child::log_tail).collect()
    }
}

impl Child {
    fn start(program: &Path, layout: &Layout, node: &Place, home: &Path) -> anyhow::Result<Self> {
        let log = home.join(format!("{}.log", node.name));
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let arguments = layout.arguments(node, home);
        let mut command = process::Command::new(program);
        command.args(&arguments).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // A Ctrl-C at the terminal is for us alone: we stop the nodes in order.
        command.process_group(0).kill_on_drop(true);
        forget_settings(&mut command);
        let process = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let pid = process.id().context("a process without an id")?;
        Ok(Self { name: node.name.clone(), pid, process, arguments, log, ended: false })
    }

    fn ask_to_stop(&mut self) {
        if let (Ok(None), Some(pid)) = (self.process.try_wait(), self.process.id())
            && let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    async fn stopped_within(&mut self, patience: Duration) -> bool {
        timeout(patience, self.process.wait()).await.is_ok()
    }

    fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(limits::LOG_TAIL_LINES)..];
        format!("the end of {}:\n  {}\n", self.log.display(), tail.join("\n  "))
    }
}

/// Settings in our environment are not meant for three nodes at once.
fn forget_settings(command: &mut process::Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROLLCALL_") {
            command.env_remove(name);
        }
    }
}

/// The program as one would type it here.
pub(super) fn shown_program(program: &Path) -> String {
    let here = std::env::current_dir().ok();
    let below = here.and_then(|here| program.strip_prefix(here).ok().map(Path::to_owned));
    match below {
        Some(below) => format!("./{}", below.display()),
        None => program.display().to_string(),
    }
}
