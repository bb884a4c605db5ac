//! Devices attach one after the other while the system calls of all nodes are traced.

use std::{ffi::OsString, path::Path};

use anyhow::ensure;
use futures::FutureExt;
use rollcall_registry::faults::Switch;
use rustix::process::Signal;

use super::{Planted, Scene};
use crate::{
    Node, PlainDevice, Process, RawProfile, SPREAD_PATIENCE, STOP_PATIENCE,
    history::SyncRecord,
    invariants,
    rows::{Bite, Outcome},
    wait_until,
};

/// The bug.
pub(super) const BUG: Planted = Planted {
    bug: "fsync off",
    switch: Switch::SyncsSkipped,
    story: "devices attach under a trace of the system calls of all nodes",
    caught_by: "acknowledged_opens_synced",
    play: |scene| play(scene).boxed_local(),
};

const OPENS: u32 = 8;

async fn play(scene: &Scene) -> anyhow::Result<Outcome> {
    let nodes = scene.cluster.running();
    let folder = scene.cluster.scratch().folder(&format!("traces-{}", scene.device_id()))?;
    let mut traces = Vec::new();
    for node in &nodes {
        traces.push((node.clone(), trace(node, &folder).await?));
    }
    let mut devices = Vec::new();
    for number in 0..OPENS {
        let profile = RawProfile::new(&format!("traced-{}-{number}", scene.device_id()), "traced");
        devices.push(PlainDevice::attach(&nodes[0], &profile, &scene.journal).await?);
    }
    let mut syncs = Vec::new();
    for (node, mut tracer) in traces {
        tracer.signal(Signal::TERM)?;
        tracer.wait(STOP_PATIENCE).await?;
        let text = std::fs::read_to_string(folder.join(&node.name))?;
        syncs.extend(SyncRecord::read_trace(&node.name, &text, scene.journal.begun_by_wall()));
    }
    let owners = scene.journal.owners();
    let mut violations = scene.judge().await?;
    violations.extend(invariants::acknowledged_opens_synced(&owners, &syncs, nodes.len()));
    Ok(Outcome::new(Bite::when(!owners.is_empty(), || "nobody attached".into()), violations))
}

/// A tracer that is at work.
async fn trace(node: &Node, folder: &Path) -> anyhow::Result<Process> {
    let (out, log) = (folder.join(&node.name), folder.join(format!("{}.strace", node.name)));
    let mut arguments: Vec<OsString> =
        ["-f", "-y", "-ttt", "-e", "trace=fdatasync,fsync", "-e", "signal=none", "-o"]
            .map(OsString::from)
            .into();
    arguments.extend([out.into_os_string(), "-p".into(), node.pid()?.to_string().into()]);
    let tracer = Process::spawn("strace", Path::new("strace"), &arguments, &log)?;
    wait_until(&format!("{} is traced", node.name), SPREAD_PATIENCE, async || {
        ensure!(tracer.output().contains("attached"), "{}", tracer.output());
        Ok(())
    })
    .await?;
    Ok(tracer)
}

/// Whether processes can be traced here.
pub(super) fn is_permitted() -> bool {
    let traced = std::process::Command::new("strace").args(["-qq", "-e", "trace=none", "true"]).output();
    traced.is_ok_and(|output| output.status.success())
}
