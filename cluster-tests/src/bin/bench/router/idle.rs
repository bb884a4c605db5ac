//! What devices cost that are connected and not called: the growth of their node's resident set.

use anyhow::Context;
use clap::{Args, ValueEnum};
use rollcall_cluster_tests::{RawDevice, RawProfile};
use tokio::task::JoinSet;

use super::{
    figures::{PER_CONNECTION, PER_DEVICE},
    memory,
    scene::Scene,
};
use crate::{
    children::{Helper, commands, say},
    limits::{CONNECTING, IDLE_CONNECTIONS, SHARED_CONNECTIONS, SLOTS},
    report::Report,
};

/// The only round: many devices on few connections first, since memory is not given back.
pub(super) async fn measure(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
    let node = &scene.cluster.nodes[2];
    for (name, sharing, count) in [
        (PER_DEVICE, Sharing::Many, SHARED_CONNECTIONS * SLOTS as usize),
        (PER_CONNECTION, Sharing::One, IDLE_CONNECTIONS),
    ] {
        let before = memory::of(node)?;
        let mode = sharing.to_possible_value().context("no such mode")?.get_name().to_owned();
        let mut devices = Helper::start(&["idle-devices".to_owned(), node.device_url(), mode])?;
        devices.expect("attached").await?;
        report.add(name, (memory::of(node)? - before) / count as f64);
        devices.kill().await?;
    }
    Ok(())
}

/// How many devices a connection carries.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Sharing {
    /// One.
    One,
    /// As many as it may.
    Many,
}

/// Which devices, and where.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where the node takes devices.
    server: String,
    /// How many devices a connection carries.
    sharing: Sharing,
}

/// The child: connects, then answers pings until the parent is gone.
///
/// # Errors
/// A device is not attached.
pub(crate) async fn serve(options: Options) -> anyhow::Result<()> {
    let (connections, slots) = match options.sharing {
        Sharing::One => (IDLE_CONNECTIONS, 1),
        Sharing::Many => (SHARED_CONNECTIONS, SLOTS),
    };
    let (mut opening, mut open) = (JoinSet::new(), 0);
    let mut left = 0..connections;
    while open < connections {
        while opening.len() < CONNECTING && left.next().is_some() {
            opening.spawn(connect(options.server.clone(), slots));
        }
        let mut device: RawDevice = opening.join_next().await.context("nothing opens")???;
        open += 1;
        tokio::spawn(async move {
            while device.hear_within(FOR_EVER).await.is_ok_and(|heard| heard.is_some()) {}
        });
    }
    say("attached");
    let mut commands = commands();
    while let Some(_command) = commands.next_line().await? {}
    Ok(())
}

const FOR_EVER: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

async fn connect(server: String, slots: u32) -> anyhow::Result<RawDevice> {
    let mut device = RawDevice::greet(&server).await?;
    for slot in 1..=slots {
        device.attach(slot, &RawProfile::new(&format!("idle-{:x}", rand::random::<u64>()), "idle")).await?;
    }
    Ok(device)
}
