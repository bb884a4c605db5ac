//! The picture: nodes, devices and calls as tables of plain text.

use std::time::Duration;

use anyhow::Context;
use comfy_table::{Table, presets};
use rollcall_proto::api::{
    Device, GetClusterRequest, GetClusterResponse, ListDevicesRequest, ListNodesRequest, Node, NodeRole,
    NodeState, cluster_service_client::ClusterServiceClient, registry_service_client::RegistryServiceClient,
};

use super::{
    children::Children,
    demo_devices::GROUP,
    formation::{channel, quick},
    layout::{Layout, Place},
    terminal::Terminal,
    tour::Made,
};

/// What a node says about the cluster and its devices.
#[derive(Debug)]
pub(super) struct Overview {
    pub(super) cluster: GetClusterResponse,
    nodes: Vec<Node>,
    devices: Vec<Device>,
}

impl Overview {
    /// The connected devices and who holds them.
    pub(super) fn held(&self) -> impl Iterator<Item = (&str, &str)> {
        self.devices.iter().filter_map(|device| {
            device.session.as_ref().map(|session| (device.device_id.as_str(), session.node.as_str()))
        })
    }

    /// A device held by the node that comes after this one in the order of names, around the circle.
    pub(super) fn held_after(&self, node: &str) -> Option<(&str, &str)> {
        let names: Vec<_> = self.nodes.iter().map(|node| node.name.as_str()).collect();
        let at = names.iter().position(|name| *name == node)?;
        let next = names[(at + 1) % names.len()];
        self.held().find(|(_, holder)| *holder == next)
    }
}

/// Asks the first node that answers.
pub(super) async fn look(layout: &Layout) -> anyhow::Result<Overview> {
    let mut last = None;
    for node in &layout.nodes {
        match look_from(node).await {
            Ok(overview) => return Ok(overview),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("there is no node to ask")?)
}

async fn look_from(node: &Place) -> anyhow::Result<Overview> {
    let channel = channel(node)?;
    let mut client = ClusterServiceClient::new(channel.clone());
    let cluster = client.get_cluster(quick(GetClusterRequest {})).await?.into_inner();
    let nodes = client.list_nodes(quick(ListNodesRequest::default())).await?.into_inner().nodes;
    let request = ListDevicesRequest { group: GROUP.into(), ..Default::default() };
    let devices =
        RegistryServiceClient::new(channel).list_devices(quick(request)).await?.into_inner().devices;
    Ok(Overview { cluster, nodes, devices })
}

/// The nodes.
pub(super) fn nodes(
    overview: &Overview,
    layout: &Layout,
    children: &Children,
    terminal: &Terminal,
) -> String {
    let mut table = table(["NODE", "ROLE", "STATE", "PID", "API", "DEVICES", "PEERS", "HTTP"]);
    for node in &overview.nodes {
        let pid = children.pid(&node.name).map_or("-".to_owned(), |pid| pid.to_string());
        let place = layout.nodes.iter().find(|place| place.name == node.name);
        let port =
            |of: fn(&Place) -> u16| place.map_or("-".to_owned(), |place| format!("127.0.0.1:{}", of(place)));
        table.add_row([
            node.name.clone(),
            role(node.role()).to_owned(),
            state(node.state()).to_owned(),
            pid,
            port(|place| place.api),
            port(|place| place.device),
            port(|place| place.peer),
            port(|place| place.http),
        ]);
    }
    titled(&format!("Nodes of cluster {}", overview.cluster.cluster_id), &table, terminal)
}

/// The devices and who holds them.
pub(super) fn devices(overview: &Overview, terminal: &Terminal) -> String {
    let mut table = table(["DEVICE", "GROUP", "HELD BY", "EPOCH", "ACTIONS"]);
    for device in &overview.devices {
        let session = device.session.as_ref();
        table.add_row([
            device.device_id.clone(),
            device.groups.join(" "),
            session.map_or("nobody".to_owned(), |session| session.node.clone()),
            session.map_or("-".to_owned(), |session| session.epoch.to_string()),
            session.map_or("-".to_owned(), |session| session.actions.join(" ")),
        ]);
    }
    titled("Devices", &table, terminal)
}

/// The calls that were made.
pub(super) fn calls(calls: &[Made], terminal: &Terminal) -> String {
    let mut table = table(["ROUTE", "REPLY", "TIME", "OF IT IN THE CLUSTER", "AT THE DEVICE"]);
    for call in calls {
        table.add_row([
            call.route.join(" → "),
            call.reply.clone(),
            milliseconds(Some(call.took)),
            milliseconds(duration(call.timings.total.as_ref())),
            milliseconds(duration(call.timings.device.as_ref())),
        ]);
    }
    titled("One call through every node, to a device that another node holds", &table, terminal)
}

fn table<const N: usize>(heads: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(heads);
    table
}

fn titled(title: &str, table: &Table, terminal: &Terminal) -> String {
    let rows: String = table.trim_fmt().lines().map(|line| format!(" {line}\n")).collect();
    format!("\n{}\n{rows}", terminal.bold(title))
}

fn role(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Leader => "leader",
        NodeRole::Voter => "voter",
        NodeRole::Learner => "learner",
        NodeRole::Unspecified => "-",
    }
}

fn state(state: NodeState) -> &'static str {
    match state {
        NodeState::Up => "up",
        NodeState::Down => "down",
        NodeState::Draining => "draining",
        NodeState::Unspecified => "-",
    }
}

fn duration(wire: Option<&prost_types::Duration>) -> Option<Duration> {
    wire.and_then(|duration| Duration::try_from(*duration).ok())
}

fn milliseconds(duration: Option<Duration>) -> String {
    duration.map_or("-".to_owned(), |duration| format!("{:.2} ms", duration.as_secs_f64() * 1_000.0))
}
