//! `rollcall prestop`: waits until this machine's node may be stopped without the loss of a quorum.

use std::time::Duration;

use clap::Args;
use http::Method;
use tokio::time::{sleep, timeout};

use super::{CliError, Exit, local::Local, output};

/// `rollcall prestop`.
///
/// For whatever stops nodes, before it does, such as the preStop hook of a pod. Returns once every other voter is ready and
/// has what this node has: the cluster then knows that this node drains, and of several nodes that are asked at once one is
/// let go. The node serves on until it is stopped, and stops by itself if nobody stops it within two minutes. A node without
/// a vote is let go at once, and so is one that does not answer.
#[derive(Debug, Args)]
pub struct Prestop {
    /// Give up waiting after that long, with exit code 1: the node will be stopped all the same, and may be missed
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    give_up_after: Duration,
    /// Return that much later, so that whoever sends calls has learnt that the node is no longer ready
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    linger: Duration,
    #[command(flatten)]
    local: Local,
}

impl Prestop {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let mut waits_for = "the node's answer".to_owned();
        match timeout(self.give_up_after, self.turn(&mut waits_for)).await {
            Err(_) => {
                let waited = humantime::format_duration(self.give_up_after);
                return Err(CliError::Local(Exit::Refused, format!("gave up after {waited}: {waits_for}")));
            }
            // Nothing is there that could be missed.
            Ok(Err(CliError::Local(Exit::Unreachable, problem))) => output::print(&problem)?,
            Ok(turn) => turn?,
        }
        sleep(self.linger).await;
        Ok(())
    }

    async fn turn(&self, waits_for: &mut String) -> Result<(), CliError> {
        let (status, mut lines) = self.local.ask(Method::POST, "/prestop").await?;
        while let Some(line) = lines.next().await {
            if status != 200 {
                return Err(CliError::Local(Exit::Refused, line));
            }
            if line == crate::http::GO {
                return Ok(());
            }
            output::print(&format!("waiting: {line}"))?;
            *waits_for = line;
        }
        // It has stopped meanwhile.
        Ok(())
    }
}
