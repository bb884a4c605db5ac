//! The programs under test, built once per test process.

use std::{
    ffi::OsString,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::sync::OnceCell;

/// Where the programs under test are.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The gateway node.
    pub rollcall: PathBuf,
    /// The device agent.
    pub agent: PathBuf,
    /// The commit that they were built from, with a `+` for changes that are not committed, profile and features.
    pub origin: String,
}

/// Nothing is measured of a node with switches, and a second build of everything takes minutes.
const QUICKER: &[(&str, &str)] =
    &[("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")];

/// Builds the programs with the profile of this test, unless that has been done, and prints what was built.
///
/// # Errors
/// They do not compile, or there is no cargo.
pub async fn binaries() -> anyhow::Result<&'static Binaries> {
    static BUILT: OnceCell<Binaries> = OnceCell::const_new();
    BUILT.get_or_try_init(|| async { tokio::task::spawn_blocking(build).await? }).await
}

/// As [`binaries`], with a node whose faults can be switched. It lies in a target folder of its own, so that nobody takes
/// it for the one that is shipped.
///
/// # Errors
/// As [`binaries`].
pub async fn binaries_with_faults() -> anyhow::Result<&'static Binaries> {
    static BUILT: OnceCell<Binaries> = OnceCell::const_new();
    let agent = binaries().await?.agent.clone();
    let build = async || tokio::task::spawn_blocking(move || build_with_faults(agent)).await?;
    BUILT.get_or_try_init(build).await
}

/// What is measured by a program that holds what it measures: commit, profile and features.
///
/// # Errors
/// It was not built by cargo.
pub fn build_under_test() -> anyhow::Result<String> {
    let (profile, commit) = (Place::of_this_test()?.profile, commit(workspace_root()?));
    Ok(format!("built from commit {commit}, profile {profile}, default features"))
}

fn build() -> anyhow::Result<Binaries> {
    let place = Place::of_this_test()?;
    let messages = cargo_build(&["--package", "rollcall-node", "--package", "rollcall-agent"], &place)?;
    let built = Binaries {
        rollcall: executable(&messages, "rollcall")?,
        agent: executable(&messages, "rollcall-agent")?,
        origin: format!("commit {} ({}), default features", commit(workspace_root()?), place.profile),
    };
    built.say();
    Ok(built)
}

fn build_with_faults(agent: PathBuf) -> anyhow::Result<Binaries> {
    let mut place = Place::of_this_test()?;
    place.target_dir.push("fault-injection");
    place.variables = QUICKER;
    let messages = cargo_build(&["--package", "rollcall-node", "--features", "fault-injection"], &place)?;
    let built = Binaries {
        rollcall: executable(&messages, "rollcall")?,
        agent,
        origin: format!(
            "commit {} ({}), with fault-injection, without LTO",
            commit(workspace_root()?),
            place.profile
        ),
    };
    built.say();
    Ok(built)
}

impl Binaries {
    /// Past libtest's capture: it belongs to the whole run, not to the test that happened to come first.
    fn say(&self) {
        let line = format!("testing {} of {}\n", self.rollcall.display(), self.origin);
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// Builds programs, and gives cargo's messages.
fn cargo_build(what: &[&str], place: &Place) -> anyhow::Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    forget_outer_cargo(&mut command);
    let output = command
        .current_dir(workspace_root()?)
        .args(["build", "--message-format=json-render-diagnostics", "--profile", &place.profile])
        .args(what)
        .arg("--bins")
        .envs(place.variables.iter().copied())
        .arg("--target-dir")
        .arg(&place.target_dir)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "the programs under test do not build");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Takes what an outer cargo tells this test of itself from a command's environment. Build scripts that look at it (ring's
/// does) would run again, here and at the next outer build, and everything after them would be built again.
fn forget_outer_cargo(command: &mut Command) {
    const OF_A_PACKAGE: [&str; 5] =
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE"];
    for (name, _) in std::env::vars_os() {
        if OF_A_PACKAGE.iter().any(|of| name.to_string_lossy().starts_with(of)) {
            command.env_remove(name);
        }
    }
}

/// Where cargo put this program: `<target dir>/<profile's folder>/deps/<test>`, or without `deps` for a binary.
struct Place {
    target_dir: PathBuf,
    profile: String,
    /// What the profile is changed by.
    variables: &'static [(&'static str, &'static str)],
}

impl Place {
    fn of_this_test() -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let mut folders = program.ancestors().skip(1).skip_while(|folder| folder.ends_with("deps"));
        let folder = folders.next().context("this test was not built by cargo")?;
        let target_dir = folder.parent().context("this test was not built by cargo")?.to_owned();
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let profile = if name == "debug" { "dev".into() } else { name.into_owned() };
        Ok(Self { target_dir, profile, variables: &[] })
    }
}

fn workspace_root() -> anyhow::Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate has left the workspace")
}

/// The path of a program in cargo's messages.
fn executable(messages: &str, name: &str) -> anyhow::Result<PathBuf> {
    let found = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    match found {
        Some(path) => Ok(path),
        None => bail!("cargo built no program {name}"),
    }
}

/// The commit that is tested, with a `+` for changes that are not committed.
fn commit(root: &Path) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").current_dir(root).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(head) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".into() };
    let changed = git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty());
    if changed { format!("{head}+") } else { head }
}
