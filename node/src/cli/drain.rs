//! `rollcall drain`: empties a node and stops it, and shows how far it is.

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rollcall_proto::api::{
    DrainNodeRequest, DrainNodeResponse, DrainPhase, cluster_service_client::ClusterServiceClient,
};
use serde_json::json;

use super::{
    CliError, Exit, client, nodes,
    output::{self, Form, Output},
};

/// `rollcall drain`.
///
/// The node is no longer ready, tells its devices to move, hands leadership over, lets calls in flight end for at most
/// its `drain_grace`, and its process exits with 0.
///
/// A voter waits until every other voter is ready and has what it has, so that the cluster keeps its quorum. While it waits,
/// Ctrl-C undoes the drain. Once it has begun it cannot be undone: start the node again when it has stopped.
#[derive(Debug, Args)]
pub struct Drain {
    /// The node's name
    name: String,
    /// Do not wait for the other voters: without this one they may be no quorum
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    nodes: client::Nodes,
    #[command(flatten)]
    output: Output,
}

impl Drain {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let channel = nodes::channel_to(self.nodes.connect().await?, &self.nodes, &self.name).await?;
        let request = DrainNodeRequest { name: self.name.clone(), now: self.now };
        let mut steps = ClusterServiceClient::new(channel).drain_node(request).await?.into_inner();
        let shown = Shown::new(self.output.output);
        let mut last = DrainNodeResponse::default();
        // A node that is stopped meanwhile ends the stream as it likes.
        while let Ok(Some(step)) = steps.message().await {
            shown.step(&self.name, &step, &last)?;
            last = step;
        }
        shown.end(&self.name, &last)
    }
}

/// Steps as they are shown: a bar on a terminal, lines elsewhere.
struct Shown {
    form: Form,
    bar: ProgressBar,
}

impl Shown {
    fn new(form: Form) -> Self {
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
        let bar =
            ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        Self { form, bar }
    }

    fn step(&self, name: &str, step: &DrainNodeResponse, last: &DrainNodeResponse) -> Result<(), CliError> {
        let text = in_words(name, step);
        self.bar.set_message(text.clone());
        self.bar.tick();
        let changed = in_words(name, last) != text;
        match self.form {
            Form::Json if changed => output::print(&as_json(name, step).to_string())?,
            // A bar that nobody sees says nothing.
            Form::Text if changed && self.bar.is_hidden() => output::print(&text)?,
            Form::Json | Form::Text => {}
        }
        Ok(())
    }

    fn end(&self, name: &str, last: &DrainNodeResponse) -> Result<(), CliError> {
        self.bar.finish_and_clear();
        match last.phase() {
            DrainPhase::Drained => {
                if self.form == Form::Text {
                    let left = in_numbers(last);
                    output::print(&format!("{name} has drained and stops ({left} left)"))?;
                }
                Ok(())
            }
            DrainPhase::Draining => {
                output::print(&format!("{name} drained and was gone before it said what was left"))?;
                Ok(())
            }
            DrainPhase::Waiting | DrainPhase::Unspecified => {
                Err(CliError::Local(Exit::Refused, format!("{name} ended the drain before it began")))
            }
        }
    }
}

fn in_words(name: &str, step: &DrainNodeResponse) -> String {
    match step.phase() {
        DrainPhase::Waiting => format!("{name} waits: {}", step.waits_for.join(", ")),
        _ => {
            let leads = if step.leads { ", still leads" } else { "" };
            format!("{name} drains: {}{leads}", in_numbers(step))
        }
    }
}

fn in_numbers(step: &DrainNodeResponse) -> String {
    format!("{} devices, {} calls in flight", step.sessions, step.calls_in_flight)
}

fn as_json(name: &str, step: &DrainNodeResponse) -> serde_json::Value {
    json!({
        "node": name,
        "phase": step.phase().as_str_name().trim_start_matches("DRAIN_PHASE_"),
        "waits_for": step.waits_for,
        "sessions": step.sessions,
        "calls_in_flight": step.calls_in_flight,
        "leads": step.leads,
    })
}
