//! `rollcall cluster`: the cluster itself, and who leads it.

use clap::Subcommand;
use rollcall_proto::api::{
    GetClusterRequest, GetClusterResponse, TransferLeadershipRequest,
    cluster_service_client::ClusterServiceClient,
};
use serde_json::json;

use super::{
    CliError, client,
    output::{self, Form, Output, Watch},
    recover,
    shrink::Shrink,
};

/// What to do with the cluster.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// The cluster as one node sees it.
    Status {
        /// Which nodes to ask.
        #[command(flatten)]
        nodes: client::Nodes,
        /// The form of the answer.
        #[command(flatten)]
        output: Output,
        /// Whether to show it again.
        #[command(flatten)]
        watch: Watch,
    },
    /// Hand leadership to another voter.
    TransferLeadership {
        /// The new leader [default: the voter that is caught up best]
        #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
        to: String,
        /// Which nodes to ask.
        #[command(flatten)]
        nodes: client::Nodes,
        /// The form of the answer.
        #[command(flatten)]
        output: Output,
    },
    /// Take the votes of nodes that are to go, or check that none have to be taken.
    Shrink(Shrink),
    /// Make a new cluster from what one survivor has, when a quorum is lost for good.
    Recover(recover::Recover),
}

impl ClusterCommand {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::Status { nodes, output, watch } => {
                watch.repeat(async || status(&nodes, output).await).await
            }
            Self::TransferLeadership { to, nodes, output } => transfer_leadership(to, nodes, output).await,
            Self::Shrink(command) => command.run().await,
            Self::Recover(command) => command.run().await,
        }
    }
}

async fn status(nodes: &client::Nodes, output: Output) -> Result<(), CliError> {
    let mut client = ClusterServiceClient::new(nodes.connect().await?);
    let status = client.get_cluster(GetClusterRequest {}).await?.into_inner();
    match output.output {
        Form::Json => output::print_json(&as_json(&status))?,
        Form::Text => output::print(&in_words(&status))?,
    }
    Ok(())
}

async fn transfer_leadership(to: String, nodes: client::Nodes, output: Output) -> Result<(), CliError> {
    let mut client = ClusterServiceClient::new(nodes.connect().await?);
    let answer = client.transfer_leadership(TransferLeadershipRequest { to }).await?.into_inner();
    match output.output {
        Form::Json => {
            let answer = json!({ "from": answer.from, "to": answer.to, "term": answer.term });
            output::print_json(&answer)?;
        }
        Form::Text => output::print(&format!("{} leads, in term {}", answer.to, answer.term))?,
    }
    Ok(())
}

fn as_json(status: &GetClusterResponse) -> serde_json::Value {
    json!({
        "cluster_id": status.cluster_id,
        "node": status.node,
        "leader": status.leader,
        "has_quorum": status.has_quorum,
        "term": status.term,
        "applied_index": status.applied_index,
        "last_log_index": status.last_log_index,
        "voters": status.voters,
        "learners": status.learners,
        "failure_tolerance": status.failure_tolerance,
        "devices": status.devices,
        "sessions": status.sessions,
        "feature_level": status.feature_level,
    })
}

fn in_words(status: &GetClusterResponse) -> String {
    let quorum = if status.has_quorum { "yes" } else { "NO" };
    output::facts([
        ("cluster", status.cluster_id.clone()),
        ("asked", status.node.clone()),
        ("leader", status.leader.clone()),
        ("quorum", quorum.to_owned()),
        ("term", status.term.to_string()),
        ("applied", format!("{} of {}", status.applied_index, status.last_log_index)),
        ("voters", status.voters.to_string()),
        ("learners", status.learners.to_string()),
        ("may lose", format!("{} more voters", status.failure_tolerance)),
        ("devices", format!("{} known, {} connected", status.devices, status.sessions)),
        ("level", status.feature_level.to_string()),
    ])
}
