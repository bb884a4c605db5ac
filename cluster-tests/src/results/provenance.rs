//! Where results come from: what was tested, on what, by which command.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};

use crate::Binaries;

/// What was tested, on what, by which command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The commit, in full.
    pub commit: String,
    /// Whether the tree was as the commit says.
    pub clean: bool,
    /// The profile of the programs.
    pub profile: String,
    /// The SHA-256 of the `rollcall` binary.
    pub binary: String,
    /// That of the one whose faults can be switched. Absent: no row needed it.
    pub binary_with_faults: Option<String>,
    /// Processors, memory and kernel.
    pub machine: String,
    /// The command line.
    pub command: String,
    /// The first seed; run after run takes the next one.
    pub seed: u64,
}

impl Provenance {
    /// Looks all of it up.
    ///
    /// # Errors
    /// There is no git, no `sha256sum`, or no `/proc`.
    pub fn look(binaries: &Binaries, with_faults: Option<&Binaries>, seed: u64) -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let changes = said("git", &["status", "--porcelain", "--", ":!RESULTS.md"], root)?;
        let hash = |binaries: &Binaries| {
            let said = said("sha256sum", &["-b", &binaries.rollcall.to_string_lossy()], root)?;
            said.split_whitespace().next().map(str::to_owned).context("no hash")
        };
        let arguments: Vec<_> = std::env::args().skip(1).collect();
        Ok(Self {
            commit: said("git", &["rev-parse", "HEAD"], root)?,
            clean: changes.is_empty(),
            profile: if cfg!(debug_assertions) { "debug".to_owned() } else { "release".to_owned() },
            binary: hash(binaries)?,
            binary_with_faults: with_faults.map(hash).transpose()?,
            machine: machine()?,
            command: format!(
                "cargo run --release -p rollcall-cluster-tests --bin torture -- {}",
                arguments.join(" ")
            ),
            seed,
        })
    }
}

fn said(program: &str, arguments: &[&str], folder: &Path) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program} {arguments:?}: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn machine() -> anyhow::Result<String> {
    let processors = std::thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{processors} processors, {} of memory, Linux {}", total.trim(), kernel.trim()))
}
