//! The demo devices: agents of the library, each first tried on another node.

use std::time::Duration;

use anyhow::{bail, ensure};
use rollcall_agent::{Agent, AgentHandle, AgentState, Call, HandlerError, Reply};
use rollcall_proto::api::{GetDeviceRequest, registry_service_client::RegistryServiceClient};

use super::{
    formation::{channel, quick, until},
    layout::Layout,
    limits,
    terminal::Terminal,
};

/// The group that the demo devices belong to.
pub(super) const GROUP: &str = "demo";

/// The demo devices, attached.
#[derive(Debug)]
pub(super) struct DemoDevices {
    agents: Vec<(String, AgentHandle)>,
}

impl DemoDevices {
    /// Starts one device a node, and waits until every node sees each at the node that it tried first.
    pub(super) async fn attach(layout: &Layout, terminal: &Terminal) -> anyhow::Result<Self> {
        let agents = (0..layout.nodes.len()).map(|number| start(layout, number)).collect();
        let devices = Self { agents };
        until("the devices are attached", limits::ATTACH_PATIENCE, terminal, async || {
            devices.agents.iter().try_for_each(|(name, agent)| match &*agent.state().borrow() {
                AgentState::Attached { .. } => Ok(()),
                other => bail!("{name} {}", in_words(other)),
            })
        })
        .await?;
        until("every node sees the devices", limits::ATTACH_PATIENCE, terminal, async || {
            devices.seen_everywhere(layout).await
        })
        .await?;
        terminal.say(format!("{} demo devices attached", devices.agents.len()));
        Ok(devices)
    }

    async fn seen_everywhere(&self, layout: &Layout) -> anyhow::Result<()> {
        for node in &layout.nodes {
            let mut registry = RegistryServiceClient::new(channel(node)?);
            for ((device_id, _), holder) in self.agents.iter().zip(&layout.nodes) {
                let request = GetDeviceRequest { device_id: device_id.clone(), ..Default::default() };
                let device = registry.get_device(quick(request)).await?.into_inner().device;
                let held_by = device.and_then(|device| device.session).map(|session| session.node);
                ensure!(
                    held_by.as_ref() == Some(&holder.name),
                    "{} sees {device_id} at {held_by:?}, not at {}",
                    node.name,
                    holder.name
                );
            }
        }
        Ok(())
    }

    /// What each device's agent is doing, in words.
    pub(super) fn states(&self) -> Vec<(String, String)> {
        let states = self.agents.iter();
        states.map(|(name, agent)| (name.clone(), in_words(&agent.state().borrow()))).collect()
    }

    /// Detaches them all.
    pub(super) async fn shutdown(self) {
        let goodbyes =
            self.agents.into_iter().map(|(_, agent)| agent.shutdown_within(Duration::from_secs(1)));
        futures::future::join_all(goodbyes).await;
    }
}

/// A device whose list of servers begins with the node of its own number.
fn start(layout: &Layout, number: usize) -> (String, AgentHandle) {
    let name = format!("demo-{}", number + 1);
    let mut servers: Vec<_> = layout.nodes.iter().map(super::layout::Place::device_url).collect();
    servers.rotate_left(number);
    let agent = Agent::builder(servers)
        .in_order()
        .device(name.clone())
        .group(GROUP)
        .label("kind", "demo")
        .capacity(8)
        .action("echo", |call: Call| async move { Ok(Reply::from(call.payload)) })
        .action("slow", slow)
        .start();
    (name, agent)
}

/// Takes as many seconds as the payload says, else 5: time enough to kill something.
async fn slow(call: Call) -> Result<Reply, HandlerError> {
    let seconds =
        std::str::from_utf8(&call.payload).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(5);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    Ok(Reply::from(format!("{} took {seconds} s", call.device_id)))
}

fn in_words(state: &AgentState) -> String {
    match state {
        AgentState::Connecting { server } => format!("connects to {server}"),
        AgentState::Attached { node, epoch } => format!("is attached to {node} (epoch {epoch})"),
        AgentState::Refused { code, message, .. } => {
            format!("was refused as {}: {message}", code.as_str_name())
        }
        AgentState::Waiting { why, .. } => format!("waits to connect again: {why}"),
        AgentState::Stopped(reason) => format!("has stopped: {reason}"),
        other => format!("is {other:?}"),
    }
}
