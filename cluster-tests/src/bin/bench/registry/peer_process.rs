//! Other people's servers: found, started with a folder and ports of their own, ended by their process.

use std::{net::TcpListener, path::Path};

use anyhow::{Context, bail};
use rollcall_cluster_tests::{Process, wait_until};
use tokio::net::TcpStream;

/// Where a program of this name is, if it is installed.
pub(crate) fn find(program: &str) -> Option<std::path::PathBuf> {
    let paths = std::env::var_os("PATH")?;
    let sbin = ["/usr/sbin", "/usr/local/sbin"].map(std::path::PathBuf::from);
    let candidates = std::env::split_paths(&paths).chain(sbin).map(|folder| folder.join(program));
    candidates.into_iter().find(|candidate| candidate.is_file())
}

/// Finds a program; where this is root on a Debian, installs its package first.
///
/// # Errors
/// It is not there, and cannot be installed.
pub(crate) async fn find_or_install(program: &str, package: &str) -> anyhow::Result<std::path::PathBuf> {
    if let Some(path) = find(program) {
        return Ok(path);
    }
    if !rustix::process::geteuid().is_root() {
        bail!("{program} is not installed (apt-get install {package})");
    }
    let mut install = tokio::process::Command::new("apt-get");
    install.args(["install", "-y", package]).env("DEBIAN_FRONTEND", "noninteractive").kill_on_drop(true);
    install.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let ended = install.status().await.with_context(|| format!("{program} is not installed"))?;
    if !ended.success() {
        bail!("{program} is not installed, and apt-get cannot install {package}");
    }
    find(program).with_context(|| format!("{package} has no {program}"))
}

/// Starts a program; its log lies in this folder.
///
/// # Errors
/// It cannot be started.
pub(crate) fn start(
    name: &str,
    program: &Path,
    arguments: &[String],
    folder: &Path,
) -> anyhow::Result<Process> {
    let arguments: Vec<std::ffi::OsString> = arguments.iter().map(Into::into).collect();
    Process::spawn(name, program, &arguments, &folder.join(format!("{name}.log")))
}

/// Free ports of 127.0.0.1.
///
/// # Errors
/// There are none.
pub(crate) fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let reserved: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    Ok(reserved.iter().map(|one| one.local_addr().map(|addr| addr.port())).collect::<Result<_, _>>()?)
}

/// Waits until somebody listens.
///
/// # Errors
/// Nobody does in time.
pub(crate) async fn listens(port: u16) -> anyhow::Result<()> {
    let what = format!("port {port} is served");
    wait_until(&what, rollcall_cluster_tests::SPREAD_PATIENCE, async || {
        TcpStream::connect(("127.0.0.1", port)).await.map(drop).context("nobody listens")
    })
    .await
}
