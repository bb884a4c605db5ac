//! `rollcall cluster shrink`: takes the votes of nodes that are to go, before they go.

use std::time::Duration;

use clap::Args;
use rollcall_proto::api::{DemoteNodeRequest, Node, NodeRole, cluster_service_client::ClusterServiceClient};
use rollcall_transport::AuthorizedChannel;
use serde_json::json;
use tokio::time::sleep;
use tonic::Code;

use super::{
    CliError, Exit, client, nodes,
    output::{self, Form, Output},
};
use crate::limits::SHRINK_TRIES;

/// How soon a change that met another one is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// `rollcall cluster shrink`.
///
/// Takes the votes of the voters that come last by their names, with numbers by their values, until so many are left; those are
/// the ones that a StatefulSet removes. They stay members without a vote, are not promoted again, and can then be stopped and
/// removed (`rollcall nodes remove`). One after the other; refused, as every change, where a quorum would be at risk.
#[derive(Debug, Args)]
pub struct Shrink {
    /// How many shall vote: 1, 3 or 5
    #[arg(long, value_name = "COUNT", value_parser = ["1", "3", "5"])]
    to: String,
    /// Change nothing; exit with 1 while more nodes vote than that
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    nodes: client::Nodes,
    #[command(flatten)]
    output: Output,
}

impl Shrink {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let to = self.to.parse().map_err(|_| CliError::Usage("--to: no number".to_owned()))?;
        let channel = self.nodes.connect().await?;
        let surplus = surplus(&nodes::all(channel.clone()).await?, to);
        if self.check && !surplus.is_empty() {
            let text = format!(
                "more than {to} nodes vote. Take the votes of {} first: rollcall cluster shrink --to {to}",
                surplus.join(", ")
            );
            return Err(CliError::Local(Exit::Refused, text));
        }
        for name in &surplus {
            demote(channel.clone(), name).await?;
            if self.output.output == Form::Text {
                output::print(&format!("{name} votes no more"))?;
            }
        }
        match self.output.output {
            Form::Json => output::print_json(&json!({ "voters": to, "demoted": surplus }))?,
            Form::Text => output::print(&format!("{to} nodes vote, or fewer"))?,
        }
        Ok(())
    }
}

/// The voters that come last by their names, beyond the first so many.
fn surplus(nodes: &[Node], to: usize) -> Vec<String> {
    let votes = |node: &&Node| matches!(node.role(), NodeRole::Leader | NodeRole::Voter);
    let mut voters: Vec<&str> = nodes.iter().filter(votes).map(|node| node.name.as_str()).collect();
    voters.sort_by_key(|name| by_number(name));
    voters.into_iter().skip(to).rev().map(str::to_owned).collect()
}

/// `rollcall-10` comes after `rollcall-9`.
fn by_number(name: &str) -> (&str, u64) {
    let prefix = name.trim_end_matches(|char: char| char.is_ascii_digit());
    (prefix, name[prefix.len()..].parse().unwrap_or_default())
}

/// Demotes a node; another change, or a change of leader, is waited out.
async fn demote(channel: AuthorizedChannel, name: &str) -> Result<(), CliError> {
    let mut client = ClusterServiceClient::new(channel);
    let mut tries = 0;
    loop {
        tries += 1;
        match client.demote_node(DemoteNodeRequest { name: name.to_owned() }).await {
            Ok(_) => return Ok(()),
            Err(status)
                if tries < SHRINK_TRIES && matches!(status.code(), Code::Aborted | Code::Unavailable) =>
            {
                sleep(ASK_AGAIN).await;
            }
            Err(status) => return Err(status.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, role: NodeRole) -> Node {
        Node { name: name.to_owned(), role: role as i32, ..Node::default() }
    }

    #[test]
    fn the_last_voters_by_number_are_surplus() {
        let names = ["r-10", "r-2", "r-0", "r-9", "r-1"];
        let mut nodes: Vec<Node> = names.iter().map(|name| node(name, NodeRole::Voter)).collect();
        nodes.push(node("r-learner-0", NodeRole::Learner));
        assert_eq!(surplus(&nodes, 3), ["r-10", "r-9"]);
        assert_eq!(surplus(&nodes, 5), Vec::<String>::new());
        nodes[2] = node("r-0", NodeRole::Leader);
        assert_eq!(surplus(&nodes, 1), ["r-10", "r-9", "r-2", "r-1"]);
    }
}
