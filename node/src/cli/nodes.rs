//! `rollcall nodes`: the cluster's nodes.

use clap::Subcommand;
use rollcall_proto::api::{ListNodesRequest, Node, cluster_service_client::ClusterServiceClient};
use serde_json::{Value, json};
use tonic::transport::Channel;

use super::{
    CliError, client,
    output::{self, Form, Output},
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
    },
}

impl Nodes {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let Self::List { nodes, output } = self;
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
pub(super) async fn all(channel: Channel) -> Result<Vec<Node>, CliError> {
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
