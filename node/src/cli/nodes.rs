//! `rollcall nodes`: the cluster's nodes, and who of them belongs and votes.

use clap::{Args, Subcommand};
use rollcall_proto::api::{
    DemoteNodeRequest, ListNodesRequest, Node, PromoteNodeRequest, RemoveNodeRequest,
    cluster_service_client::ClusterServiceClient,
};
use rollcall_transport::AuthorizedChannel;
use serde_json::{Value, json};

use super::{
    CliError, client,
    output::{self, Form, Output, Watch},
    words,
};
use crate::limits::PAGE_MOST;

/// What to do with nodes.
#[derive(Debug, Subcommand)]
pub enum Nodes {
    /// List the nodes in the order of their names.
    List {
        /// Which nodes to ask.
        #[command(flatten)]
        nodes: client::Nodes,
        /// The form of the answer.
        #[command(flatten)]
        output: Output,
        /// Whether to show them again.
        #[command(flatten)]
        watch: Watch,
    },
    /// Remove a node for good; its sessions end and it stops by itself.
    Remove(Named),
    /// Let a learner vote.
    Promote(Named),
    /// Take a node's vote; it stays a learner until it is promoted again.
    Demote(Named),
}

/// A command about one node.
#[derive(Debug, Args)]
pub struct Named {
    /// The node's name
    name: String,
    /// Which nodes to ask.
    #[command(flatten)]
    nodes: client::Nodes,
    /// The form of the answer.
    #[command(flatten)]
    output: Output,
}

/// What came of a change: the node's id, and the index as of which it holds.
struct Changed {
    node_id: u64,
    index: u64,
    cluster_id: String,
}

impl Nodes {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::List { nodes, output, watch } => watch.repeat(async || list(&nodes, output).await).await,
            Self::Remove(named) => named.remove().await,
            Self::Promote(named) => named.promote().await,
            Self::Demote(named) => named.demote().await,
        }
    }
}

async fn list(nodes: &client::Nodes, output: Output) -> Result<(), CliError> {
    let all = all(nodes.connect().await?).await?;
    match output.output {
        Form::Json => {
            let nodes: Vec<Value> = all.iter().map(words::node).collect();
            output::print_json(&json!({ "nodes": nodes }))?;
        }
        Form::Text => output::print(&output::table(HEADER, all.iter().map(row)))?,
    }
    Ok(())
}

impl Named {
    async fn remove(self) -> Result<(), CliError> {
        let request = RemoveNodeRequest { name: self.name.clone() };
        let answer = self.client().await?.remove_node(request).await?.into_inner();
        let changed = Changed { node_id: answer.node_id, index: answer.index, cluster_id: answer.cluster_id };
        self.print("removed", &changed)
    }

    async fn promote(self) -> Result<(), CliError> {
        let request = PromoteNodeRequest { name: self.name.clone() };
        let answer = self.client().await?.promote_node(request).await?.into_inner();
        let changed = Changed { node_id: answer.node_id, index: answer.index, cluster_id: answer.cluster_id };
        self.print("promoted", &changed)
    }

    async fn demote(self) -> Result<(), CliError> {
        let request = DemoteNodeRequest { name: self.name.clone() };
        let answer = self.client().await?.demote_node(request).await?.into_inner();
        let changed = Changed { node_id: answer.node_id, index: answer.index, cluster_id: answer.cluster_id };
        self.print("demoted", &changed)
    }

    async fn client(&self) -> Result<ClusterServiceClient<AuthorizedChannel>, CliError> {
        Ok(ClusterServiceClient::new(self.nodes.connect().await?))
    }

    fn print(&self, done: &str, changed: &Changed) -> Result<(), CliError> {
        let Changed { node_id, index, cluster_id } = changed;
        match self.output.output {
            Form::Json => output::print_json(&json!({
                "node": self.name,
                "change": done,
                "node_id": node_id,
                "index": index,
                "cluster_id": cluster_id,
            }))?,
            Form::Text => output::print(&format!("{} (node {node_id}) is {done}", self.name))?,
        }
        Ok(())
    }
}

const HEADER: [&str; 9] = ["name", "id", "role", "state", "sessions", "api", "device", "peer", "version"];

fn row(node: &Node) -> [String; 9] {
    [
        node.name.clone(),
        node.node_id.to_string(),
        words::role(node).to_owned(),
        words::state(node).to_owned(),
        node.sessions.to_string(),
        node.api_addr.clone(),
        node.device_addr.clone(),
        node.peer_addr.clone(),
        node.version.clone(),
    ]
}

/// All nodes, page by page.
pub(super) async fn all(channel: AuthorizedChannel) -> Result<Vec<Node>, CliError> {
    let mut client = ClusterServiceClient::new(channel);
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListNodesRequest { page_size: PAGE_MOST as i32, page_token };
        let page = client.list_nodes(request).await?.into_inner();
        all.extend(page.nodes);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}

/// A connection to the node of this name, found through the one that is connected.
pub(super) async fn channel_to(
    channel: AuthorizedChannel,
    by: &client::Nodes,
    name: &str,
) -> Result<AuthorizedChannel, CliError> {
    let nodes = all(channel).await?;
    let names = || nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ");
    let node = nodes
        .iter()
        .find(|node| node.name == name)
        .ok_or_else(|| CliError::Usage(format!("no node is named {name}; there are: {}", names())))?;
    by.connect_to(&node.api_addr).await
}
