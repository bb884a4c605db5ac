//! `rollcall rebalance`: moves devices from nodes that have many to those that have few.

use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rollcall_proto::api::{
    Node, NodeState, RebalanceNodeRequest, RebalanceNodeResponse,
    cluster_service_client::ClusterServiceClient,
};
use rollcall_transport::AuthorizedChannel;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    CliError, Exit, client, nodes,
    output::{self, Form, Output},
};
use crate::limits::{REBALANCE_LOOK, REBALANCE_ROUNDS, REBALANCE_SETTLE};

/// `rollcall rebalance`.
///
/// After a node has joined or come back, the others hold its devices. This asks each node that has more than a tenth above its share
/// to let the surplus move, at a rate: devices attach elsewhere before they leave, and calls in flight end where they are.
/// Ends when no node is above its share, or when those that were asked have had their time. Safe to interrupt and to repeat.
#[derive(Debug, Args)]
pub struct Rebalance {
    /// How many devices move per second from each node, at most; never more than a node admits (`connect_rate`)
    #[arg(long, value_name = "PER_SECOND", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Only say how many devices would move
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    nodes: client::Nodes,
    #[command(flatten)]
    output: Output,
}

/// A node that takes devices, and the way to it.
struct Taker {
    name: String,
    client: ClusterServiceClient<AuthorizedChannel>,
}

impl Rebalance {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let mut takers = self.takers().await?;
        let before = self.ask(&mut takers, What::Look).await?;
        let mut after = before.clone();
        if !self.dry_run {
            for _ in 0..REBALANCE_ROUNDS {
                if surplus(&after).is_empty() {
                    break;
                }
                let asked = self.ask(&mut takers, What::Move).await?;
                if asked.iter().all(|node| node.asked == 0) {
                    break;
                }
                after = self.settle(&mut takers, &asked).await?;
            }
        }
        self.show(&before, &after)?;
        let left = surplus(&after);
        if self.dry_run || left.is_empty() {
            return Ok(());
        }
        let text = format!(
            "{} still have more than their share: their devices know no other node, do not move when they are asked, or \
             share connections with many others",
            left.join(", ")
        );
        Err(CliError::Local(Exit::Refused, text))
    }

    /// The nodes that are up and stay.
    async fn takers(&self) -> Result<Vec<Taker>, CliError> {
        let all = nodes::all(self.nodes.connect().await?).await?;
        let mut takers = Vec::new();
        for Node { name, api_addr, .. } in all.into_iter().filter(|node| node.state() == NodeState::Up) {
            let client = ClusterServiceClient::new(self.nodes.connect_to(&api_addr).await?);
            takers.push(Taker { name, client });
        }
        Ok(takers)
    }

    async fn ask(&self, takers: &mut [Taker], what: What) -> Result<Vec<RebalanceNodeResponse>, CliError> {
        let mut answers = Vec::new();
        for taker in takers {
            let request = RebalanceNodeRequest {
                name: taker.name.clone(),
                per_second: self.rate,
                dry_run: what == What::Look,
            };
            answers.push(taker.client.rebalance_node(request).await?.into_inner());
        }
        Ok(answers)
    }

    /// Looks until each node has given away what it asked to move, or the time for that is over.
    async fn settle(
        &self,
        takers: &mut [Taker],
        asked: &[RebalanceNodeResponse],
    ) -> Result<Vec<RebalanceNodeResponse>, CliError> {
        let over =
            asked.iter().filter_map(|node| Duration::try_from(node.over?).ok()).max().unwrap_or_default();
        let (end, bar) =
            (Instant::now() + over + REBALANCE_SETTLE, bar(asked.iter().map(|node| node.asked).sum()));
        loop {
            let now = self.ask(takers, What::Look).await?;
            let moved = asked
                .iter()
                .zip(&now)
                .map(|(asked, now)| asked.sessions.saturating_sub(now.sessions).min(asked.asked));
            let moved: u64 = moved.sum();
            bar.set_position(moved);
            if bar.length().is_none_or(|all| moved >= all) || Instant::now() >= end {
                bar.finish_and_clear();
                return Ok(now);
            }
            sleep(REBALANCE_LOOK).await;
        }
    }

    fn show(
        &self,
        before: &[RebalanceNodeResponse],
        after: &[RebalanceNodeResponse],
    ) -> Result<(), CliError> {
        let nodes = before.iter().zip(after);
        match self.output.output {
            Form::Json => {
                let nodes = nodes.map(|(before, after)| {
                    json!({
                        "node": before.node,
                        "before": before.sessions,
                        "share": before.share,
                        "surplus": before.surplus,
                        "after": after.sessions,
                    })
                });
                Ok(output::print_json(
                    &json!({ "dry_run": self.dry_run, "nodes": nodes.collect::<Vec<_>>() }),
                )?)
            }
            Form::Text => {
                let rows = nodes.map(|(before, after)| {
                    let numbers = [before.sessions, before.share, before.surplus, after.sessions];
                    let [held, share, surplus, now] = numbers.map(|number| number.to_string());
                    [before.node.clone(), held, share, surplus, now]
                });
                Ok(output::print(&output::table(["name", "sessions", "share", "surplus", "now"], rows))?)
            }
        }
    }
}

/// What nodes are asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Look,
    Move,
}

/// The nodes that have more than their share.
fn surplus(nodes: &[RebalanceNodeResponse]) -> Vec<&str> {
    nodes.iter().filter(|node| node.surplus > 0).map(|node| node.node.as_str()).collect()
}

fn bar(devices: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} devices have moved {elapsed}");
    ProgressBar::new(devices).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
