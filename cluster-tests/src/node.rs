//! A gateway node under test: its place, its flags, its process.

use std::{
    ffi::OsString,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use parking_lot::Mutex;
use rollcall_agent::Access;
use rollcall_registry::faults::Switch;
use rustix::process::Signal;

use crate::{Api, Binaries, Process, faults::FaultFile, http, limits, ports::PortBlock};

/// Where a node listens: four ports of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The address: 127.0.0.1, or its own on a network of its own.
    pub host: Ipv4Addr,
    /// For services.
    pub api: u16,
    /// For devices.
    pub device: u16,
    /// For other nodes.
    pub peer: u16,
    /// For health and metrics.
    pub http: u16,
}

impl Addresses {
    /// The addresses of a cluster's node by its number from 0.
    ///
    /// # Errors
    /// The cluster has no ports for so many nodes.
    pub(crate) fn of_node(ports: &PortBlock, number: u16) -> anyhow::Result<Self> {
        let port = |offset| ports.port(number * 4 + offset);
        Ok(Self {
            host: Ipv4Addr::LOCALHOST,
            api: port(0)?,
            device: port(1)?,
            peer: port(2)?,
            http: port(3)?,
        })
    }
}

/// What the harness has done to a node's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Running,
    Paused,
    Ended,
}

/// A gateway node, running or not.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub addresses: Addresses,
    /// Its data folder.
    pub data_dir: PathBuf,
    flags: Vec<String>,
    logs: PathBuf,
    program: PathBuf,
    namespace: Option<String>,
    access: Option<Access>,
    faults: Option<FaultFile>,
    boots: AtomicU32,
    running: Mutex<Option<(Process, Wanted)>>,
}

/// What a node is made of.
#[derive(Debug)]
pub(crate) struct NodePlan<'a> {
    pub(crate) name: &'a str,
    pub(crate) addresses: Addresses,
    pub(crate) data_dir: PathBuf,
    pub(crate) flags: Vec<String>,
    pub(crate) logs: PathBuf,
    pub(crate) namespace: Option<String>,
    pub(crate) access: Option<Access>,
    pub(crate) faults: Option<FaultFile>,
}

impl Node {
    pub(crate) fn new(plan: NodePlan<'_>, binaries: &Binaries) -> Self {
        Self {
            name: plan.name.to_owned(),
            addresses: plan.addresses,
            data_dir: plan.data_dir,
            flags: plan.flags,
            logs: plan.logs,
            program: binaries.rollcall.clone(),
            namespace: plan.namespace,
            access: plan.access,
            faults: plan.faults,
            boots: AtomicU32::new(0),
            running: Mutex::new(None),
        }
    }

    /// The same node, not running, at other addresses.
    pub(crate) fn moved_to(&self, addresses: Addresses) -> Self {
        Self {
            name: self.name.clone(),
            addresses,
            data_dir: self.data_dir.clone(),
            flags: self.flags.clone(),
            logs: self.logs.clone(),
            program: self.program.clone(),
            namespace: self.namespace.clone(),
            access: self.access.clone(),
            faults: self.faults.clone(),
            boots: AtomicU32::new(self.boots.load(Ordering::Relaxed)),
            running: Mutex::new(None),
        }
    }

    /// Copies all that it has on disk to `copy`. For a true copy its process is ended, or its time stopped.
    ///
    /// # Errors
    /// The file system's.
    pub fn copy_disk(&self, copy: &Path) -> anyhow::Result<()> {
        copy_folder(&self.data_dir, copy)
    }

    /// Sets a stopped node's disk back to a copy.
    ///
    /// # Errors
    /// It runs, or the file system's.
    pub fn set_disk_back(&self, copy: &Path) -> anyhow::Result<()> {
        self.wipe()?;
        copy_folder(copy, &self.data_dir)
    }

    /// Starts the process. Does not wait until it serves.
    ///
    /// # Errors
    /// It runs already, or cannot be started.
    pub fn start(&self) -> anyhow::Result<()> {
        self.start_with(&[])
    }

    /// Starts the process with these flags more, for this start alone.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(&self, more: &[&str]) -> anyhow::Result<()> {
        let mut running = self.running.lock();
        if let Some((process, _)) = running.as_mut() {
            ensure!(process.ended()?.is_some(), "{} runs already", self.name);
        }
        let boot = self.boots.fetch_add(1, Ordering::Relaxed) + 1;
        let log = self.logs.join(format!("{}.boot-{boot}.log", self.name));
        let mut flags = self.arguments();
        flags.extend(more.iter().map(OsString::from));
        let process = match &self.namespace {
            None => Process::spawn_with(&self.name, &self.program, &flags, &log, self.variable())?,
            Some(namespace) => {
                // `ip netns exec` becomes the program: the process id stays.
                let mut arguments: Vec<OsString> = vec!["netns".into(), "exec".into(), namespace.into()];
                arguments.push(self.program.clone().into_os_string());
                arguments.extend(flags);
                Process::spawn_with(&self.name, Path::new("ip"), &arguments, &log, self.variable())?
            }
        };
        *running = Some((process, Wanted::Running));
        Ok(())
    }

    fn variable(&self) -> Option<(&'static str, &Path)> {
        self.faults.as_ref().map(FaultFile::variable)
    }

    /// Switches exactly these faults on, and waits until the process has heard of it, if it runs.
    ///
    /// # Errors
    /// The cluster was not planned with faults; it does not hear of it in time.
    pub async fn switch(&self, on: &[Switch]) -> anyhow::Result<()> {
        let faults = self.faults.as_ref().with_context(|| format!("{} has no faults", self.name))?;
        faults.write(on)?;
        if self.is_running() {
            faults.heard(on).await.with_context(|| format!("node {}", self.name))?;
        }
        Ok(())
    }

    /// The command line, without the program.
    pub fn arguments(&self) -> Vec<OsString> {
        let Addresses { host, api, device, peer, http } = self.addresses;
        let mut arguments: Vec<OsString> = vec!["serve".into(), "--name".into(), self.name.clone().into()];
        arguments.extend(["--data-dir".into(), self.data_dir.clone().into_os_string()]);
        for (flag, port) in
            [("--api-addr", api), ("--device-addr", device), ("--peer-addr", peer), ("--http-addr", http)]
        {
            arguments.extend([flag.into(), format!("{host}:{port}").into()]);
        }
        arguments.extend(self.flags.iter().map(OsString::from));
        arguments
    }

    /// Ends the process with SIGKILL: nothing is told to anybody.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill9(&self) -> anyhow::Result<()> {
        self.with_process(|process, wanted| {
            if let Some(status) = process.ended()? {
                bail!("it had ended by itself: {status}\n{}", process.log_tail());
            }
            process.kill();
            *wanted = Wanted::Ended;
            Ok(())
        })
    }

    /// Asks the process to stop (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// It does not run, or does not stop in time.
    pub async fn stop(&self) -> anyhow::Result<ExitStatus> {
        self.send(Signal::TERM, Wanted::Ended)?;
        self.ended(limits::STOP_PATIENCE).await
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Errors
    /// It still runs after `patience`.
    pub async fn ended(&self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let mut taken = self.running.lock().take();
        let (process, wanted) = taken.as_mut().with_context(|| format!("{} was never started", self.name))?;
        let status = process.wait(patience).await;
        if status.is_ok() {
            *wanted = Wanted::Ended;
        }
        *self.running.lock() = taken;
        status
    }

    /// Stops the process' time (SIGSTOP).
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.send(Signal::STOP, Wanted::Paused)
    }

    /// Lets the process' time go on (SIGCONT).
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.send(Signal::CONT, Wanted::Running)
    }

    /// Removes all that a stopped node has on disk.
    ///
    /// # Errors
    /// It runs, or the file system's.
    pub fn wipe(&self) -> anyhow::Result<()> {
        ensure!(!self.is_running(), "{} still runs", self.name);
        if self.data_dir.exists() {
            fs::remove_dir_all(&self.data_dir)?;
        }
        Ok(())
    }

    /// Whether the process runs and its time is not stopped.
    pub fn is_running(&self) -> bool {
        let mut running = self.running.lock();
        let Some((process, wanted)) = running.as_mut() else { return false };
        *wanted == Wanted::Running && matches!(process.ended(), Ok(None))
    }

    /// The process' id.
    ///
    /// # Errors
    /// It was never started.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.with_process(|process, _| Ok(process.pid()))
    }

    /// All that the last process has printed.
    ///
    /// # Errors
    /// It was never started.
    pub fn output(&self) -> anyhow::Result<String> {
        self.with_process(|process, _| Ok(process.output()))
    }

    /// The folder of this node's logs, one a boot.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// The node's API, over a connection of its own.
    ///
    /// # Errors
    /// The address is malformed.
    pub fn api(&self) -> anyhow::Result<Api> {
        Api::at(&self.name, &self.api_url(), &self.access.clone().unwrap_or_default())
    }

    fn url(&self, port: u16) -> String {
        let scheme = if self.access.is_some() { "https" } else { "http" };
        format!("{scheme}://{}:{port}", self.addresses.host)
    }

    /// Has the process look at its files again (SIGHUP).
    ///
    /// # Errors
    /// It does not run.
    pub fn hang_up(&self) -> anyhow::Result<()> {
        self.send(Signal::HUP, Wanted::Running)
    }

    /// Where services reach it.
    pub fn api_url(&self) -> String {
        self.url(self.addresses.api)
    }

    /// Where devices reach it.
    pub fn device_url(&self) -> String {
        self.url(self.addresses.device)
    }

    /// Where other nodes reach it.
    pub fn peer_addr(&self) -> String {
        format!("{}:{}", self.addresses.host, self.addresses.peer)
    }

    /// An HTTP GET from its HTTP listener: the status and the body.
    ///
    /// # Errors
    /// Nothing answers.
    pub async fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        let access = self.access.clone().unwrap_or_default();
        http::get(&format!("{}{path}", self.url(self.addresses.http)), &access).await
    }

    /// Fails if the process ended though nobody ended it, or if it panicked.
    pub(crate) fn check_health(&self) -> anyhow::Result<()> {
        let mut running = self.running.lock();
        let Some((process, wanted)) = running.as_mut() else { return Ok(()) };
        if let (Some(status), true) = (process.ended()?, *wanted != Wanted::Ended) {
            bail!("{} ended by itself: {status}\n{}", self.name, process.log_tail());
        }
        ensure!(
            !process.output().contains("panicked at"),
            "{} panicked: see {}",
            self.name,
            process.log().display()
        );
        Ok(())
    }

    fn send(&self, signal: Signal, then: Wanted) -> anyhow::Result<()> {
        self.with_process(|process, wanted| {
            process.signal(signal)?;
            *wanted = then;
            Ok(())
        })
    }

    fn with_process<T>(
        &self,
        act: impl FnOnce(&mut Process, &mut Wanted) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut running = self.running.lock();
        let (process, wanted) =
            running.as_mut().with_context(|| format!("{} was never started", self.name))?;
        act(process, wanted).with_context(|| format!("node {}", self.name))
    }
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
