//! `rollcall health`: this machine's node, for probes and supervisors.

use std::time::Duration;

use clap::Args;
use http::Method;
use tokio::time::timeout;

use super::{CliError, Exit, local::Local, output};

/// `rollcall health`.
///
/// Asks the node on this machine over its HTTP listener, prints what it says, and exits with 0 if it is well, 1 if it is not,
/// 3 if it does not answer.
#[derive(Debug, Args)]
pub struct Health {
    /// Only whether the process answers; never depends on the cluster
    #[arg(long, conflicts_with = "ready")]
    live: bool,
    /// Whether it should be sent calls; this is asked by default
    #[arg(long)]
    ready: bool,
    /// How long the answer may take
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    patience: Duration,
    #[command(flatten)]
    local: Local,
}

impl Health {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let path = if self.live { "/livez" } else { "/readyz" };
        let late = || CliError::Local(Exit::Unreachable, format!("no answer within {:?}", self.patience));
        let asked = async {
            let (status, lines) = self.local.ask(Method::GET, path).await?;
            Ok::<_, CliError>((status, lines.all().await.join("\n")))
        };
        let (status, said) = timeout(self.patience, asked).await.map_err(|_| late())??;
        if status == 200 {
            output::print(&said)?;
            return Ok(());
        }
        Err(CliError::Local(Exit::Refused, format!("not ready: {said}")))
    }
}
