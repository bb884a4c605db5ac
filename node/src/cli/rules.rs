//! `rollcall access`: who may do what, as it is stored for all nodes.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use rollcall_proto::api::{
    GetAccessRulesRequest, SetAccessRulesRequest, SetAccessRulesResponse,
    cluster_service_client::ClusterServiceClient,
};
use serde_json::json;

use super::{
    CliError, client,
    output::{self, Form, Output},
};

/// What to do with the rules.
#[derive(Debug, Subcommand)]
pub enum Rules {
    /// Print the rules that are stored.
    Get(Common),
    /// Store the rules of a file: they hold on every node at once, instead of the nodes' own files.
    Set {
        /// The file, as the setting `access` has it
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Only if this version is stored
        #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
        etag: String,
        /// How to ask.
        #[command(flatten)]
        common: Common,
    },
    /// Store none any more: each node goes by its own file again.
    Clear {
        /// Only if this version is stored
        #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
        etag: String,
        /// How to ask.
        #[command(flatten)]
        common: Common,
    },
}

/// Whom to ask, and in which form to answer.
#[derive(Debug, Args)]
pub struct Common {
    #[command(flatten)]
    nodes: client::Nodes,
    #[command(flatten)]
    output: Output,
}

impl Rules {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::Get(common) => common.get().await,
            Self::Set { file, etag, common } => common.set(read(&file)?, etag).await,
            Self::Clear { etag, common } => common.set(String::new(), etag).await,
        }
    }
}

fn read(file: &Path) -> Result<String, CliError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| CliError::Usage(format!("{} cannot be read: {error}", file.display())))?;
    if text.trim().is_empty() {
        return Err(CliError::Usage(format!("{} is empty: nobody could do anything", file.display())));
    }
    Ok(text)
}

impl Common {
    async fn get(self) -> Result<(), CliError> {
        let mut client = ClusterServiceClient::new(self.nodes.connect().await?);
        let stored = client.get_access_rules(GetAccessRulesRequest {}).await?.into_inner();
        match self.output.output {
            Form::Json => output::print_json(&json!({
                "text": stored.text,
                "etag": stored.etag,
                "index": stored.index,
                "cluster_id": stored.cluster_id,
            }))?,
            Form::Text if stored.etag.is_empty() => {
                output::print("# nothing is stored: each node goes by its own file")?;
            }
            Form::Text => output::print(&format!("# version {}\n{}", stored.etag, stored.text.trim_end()))?,
        }
        Ok(())
    }

    async fn set(self, text: String, etag: String) -> Result<(), CliError> {
        let mut client = ClusterServiceClient::new(self.nodes.connect().await?);
        let done = client.set_access_rules(SetAccessRulesRequest { text, etag }).await?.into_inner();
        let SetAccessRulesResponse { etag, index, cluster_id } = done;
        match self.output.output {
            Form::Json => {
                output::print_json(&json!({ "etag": etag, "index": index, "cluster_id": cluster_id }))?
            }
            Form::Text if etag.is_empty() => output::print("nothing is stored any more")?,
            Form::Text => output::print(&format!("stored as version {etag}"))?,
        }
        Ok(())
    }
}
