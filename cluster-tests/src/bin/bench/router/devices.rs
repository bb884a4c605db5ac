//! Devices in a process of their own: agents of the library that answer at once.

use bytes::Bytes;
use clap::Args;
use rollcall_agent::{Agent, AgentHandle, Call, HandlerError, Reply};

use super::raw_echo::LARGE;
use crate::{
    children::{Helper, commands, say},
    limits,
};

/// What a node's devices are to be.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where the nodes take devices.
    servers: Vec<String>,
}

/// The group of the devices that a node holds, by the node's number from 0.
pub(crate) fn group(node: usize) -> String {
    format!("on-n{}", node + 1)
}

/// The group of the devices that take very many calls at once; another node than the entry holds them.
pub(crate) const WIDE: &str = "wide";
/// The action that lasts as long as the longest real calls.
pub(crate) const WAIT: &str = "wait";

/// Starts the devices of all nodes, and waits until they are attached.
///
/// # Errors
/// They are not.
pub(crate) async fn start(servers: &[String]) -> anyhow::Result<Helper> {
    let mut arguments = vec!["devices".to_owned()];
    arguments.extend(servers.iter().cloned());
    let mut helper = Helper::start(&arguments)?;
    helper.expect("attached").await?;
    Ok(helper)
}

/// The child: serves until the parent is gone.
///
/// # Errors
/// A device is not attached.
pub(crate) async fn serve(options: Options) -> anyhow::Result<()> {
    let large = Bytes::from(vec![b'x'; limits::LARGE_BYTES]);
    let mut devices = Vec::new();
    for (node, server) in options.servers.iter().enumerate() {
        for number in 0..limits::DEVICES_PER_NODE {
            devices.push(device(server, node, number, &large));
        }
    }
    for (number, server) in options.servers.iter().skip(1).take(1).cycle().take(WIDE_DEVICES).enumerate() {
        devices.push(wide(server, number));
    }
    for device in &devices {
        device.attached().await?;
    }
    say("attached");
    let mut commands = commands();
    while let Some(_command) = commands.next_line().await? {}
    Ok(())
}

fn device(server: &str, node: usize, number: usize, large: &Bytes) -> AgentHandle {
    let large = large.clone();
    Agent::builder([server])
        .device(format!("device-{node}-{number}"))
        .group(group(node))
        .capacity(limits::DEVICE_CAPACITY)
        .action("echo", |call: Call| async move { Ok::<_, HandlerError>(Reply::from(call.payload)) })
        .action(LARGE, move |_: Call| {
            let large = large.clone();
            async move { Ok::<_, HandlerError>(Reply::from(large)) }
        })
        .start()
}

fn wide(server: &str, number: usize) -> AgentHandle {
    Agent::builder([server])
        .device(format!("wide-{number}"))
        .group(WIDE)
        .capacity(limits::WIDE_CAPACITY)
        .action(WAIT, |call: Call| async move {
            tokio::time::sleep(limits::CALL_LASTS).await;
            Ok::<_, HandlerError>(Reply::from(call.payload))
        })
        .start()
}

/// Together they take all calls that are ever in flight.
const WIDE_DEVICES: usize = 2;
