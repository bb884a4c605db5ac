//! `rollcall log`: what a node logs, changed while it runs.

use clap::Subcommand;
use rollcall_proto::api::{SetLogFilterRequest, cluster_service_client::ClusterServiceClient};
use serde_json::json;

use super::{
    CliError, client, nodes,
    output::{self, Form, Output},
};

/// What to do with a node's log.
#[derive(Debug, Subcommand)]
pub enum Log {
    /// Show what a node logs, or change it until its next start or reload.
    ///
    /// To change it for good, change `log_level` in the node's file and send the process SIGHUP.
    Level {
        /// The new filter, as the setting `log_level`: info, debug, info,rollcall_router=debug, … [default: only show]
        #[arg(value_name = "FILTER", default_value = "", hide_default_value = true)]
        filter: String,
        /// The node, by name [default: the node that is asked]
        #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
        node: String,
        /// Which nodes to ask.
        #[command(flatten)]
        nodes: client::Nodes,
        /// The form of the answer.
        #[command(flatten)]
        output: Output,
    },
}

impl Log {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let Self::Level { filter, node, nodes, output } = self;
        let mut channel = nodes.connect().await?;
        if !node.is_empty() {
            channel = nodes::channel_to(channel, &nodes, &node).await?;
        }
        let request = SetLogFilterRequest { name: node, filter };
        let answer = ClusterServiceClient::new(channel).set_log_filter(request).await?.into_inner();
        match output.output {
            Form::Json => output::print_json(
                &json!({ "node": answer.node, "former": answer.former, "filter": answer.filter }),
            )?,
            Form::Text if answer.former == answer.filter => {
                output::print(&format!("{} logs {}", answer.node, answer.filter))?;
            }
            Form::Text => {
                output::print(&format!(
                    "{} logs {}, no longer {}",
                    answer.node, answer.filter, answer.former
                ))?;
            }
        }
        Ok(())
    }
}
