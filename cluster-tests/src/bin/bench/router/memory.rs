//! How much memory processes hold.

use anyhow::Context;
use rollcall_cluster_tests::Node;

/// The resident set of a node, in bytes.
///
/// # Errors
/// It does not run.
pub(crate) fn of(node: &Node) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1_024.0)
}
