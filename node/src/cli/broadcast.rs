//! `rollcall broadcast`: the same call to every device of a group, each answer as it comes, then how they add up.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rollcall_proto::{
    api::{BroadcastRequest, BroadcastSummary, InvokeResponse},
    client::{BroadcastItem, CallError},
};
use serde_json::{Value, json};

use super::{
    CliError, client,
    invoke::milliseconds,
    output::{self, Form, Output},
    sent::Sent,
    words,
};
use crate::limits::TABLE_ANSWER_CHARS;

/// The group that means all of them.
const ANY_GROUP: &str = "*";

/// Call every device of a group, and print each answer as it comes.
#[derive(Debug, Args)]
pub struct Broadcast {
    /// The group whose devices are called; with --label, `*` means all devices that carry the labels
    group: String,
    /// What the devices are asked to do
    action: String,
    #[command(flatten)]
    sent: Sent,
    /// How long all of it may take [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// How long each device may take [default: the node's default, 30s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    device_timeout: Option<Duration>,
    /// Calls that are sent in a second, at most [default: the node's maximum, 10000]
    #[arg(long, value_name = "CALLS", default_value_t = 0, hide_default_value = true)]
    rate: u32,
    /// Calls in flight at once, at most [default: 256]
    #[arg(long, value_name = "CALLS", default_value_t = 0, hide_default_value = true)]
    in_flight: u32,
    /// The name of the broadcast [default: made by the node]
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
    /// Each device's call may be executed more than once: the gateway may retry it
    #[arg(long)]
    idempotent: bool,
    #[command(flatten)]
    nodes: client::Nodes,
    #[command(flatten)]
    output: Output,
}

impl Broadcast {
    pub(super) async fn run(self) -> Result<ExitCode, CliError> {
        let (nodes, form) = (self.nodes.clone(), self.output.output);
        let (client, request) = (nodes.client()?, self.request().await?);
        let mut answers = match client.broadcast(request).await {
            Ok(answers) => answers,
            Err(error) => return Err(nodes.explain(error).await),
        };
        let progress = progress(answers.start().targets);
        if form == Form::Text {
            line(&progress, &row("DEVICE", "OUTCOME", "NODE", "TIME", "ANSWER"))?;
        }
        while let Some(item) = answers.next().await? {
            match item {
                BroadcastItem::Result { device_id, result } => {
                    let text = match form {
                        Form::Text => result_row(&device_id, &result),
                        Form::Json => result_json(&device_id, &result).to_string(),
                    };
                    line(&progress, &text)?;
                    progress.inc(1);
                }
                BroadcastItem::Summary(summary) => {
                    progress.finish_and_clear();
                    match form {
                        Form::Text => eprintln!("{}", in_words(&summary)),
                        Form::Json => output::print(&summary_json(&summary).to_string())?,
                    }
                    let all = summary.answered == summary.targets;
                    return Ok(if all { ExitCode::SUCCESS } else { super::Exit::Refused.into() });
                }
            }
        }
        Err(CliError::Io("the broadcast ended without a summary".to_owned()))
    }

    async fn request(self) -> Result<BroadcastRequest, CliError> {
        let duration = |duration: Option<Duration>| duration.and_then(|duration| duration.try_into().ok());
        Ok(BroadcastRequest {
            payload: self.sent.payload().await?,
            namespace: self.sent.namespace,
            group: if self.group == ANY_GROUP { String::new() } else { self.group },
            action: self.action,
            content_type: self.sent.content_type,
            metadata: self.sent.metadata.into_iter().collect(),
            labels: self.sent.labels.into_iter().collect(),
            request_id: self.request_id,
            idempotent: self.idempotent,
            timeout: duration(self.timeout),
            device_timeout: duration(self.device_timeout),
            rate_per_second: self.rate,
            in_flight: self.in_flight,
            min_index: 0,
        })
    }
}

/// A bar on stderr, if that is a terminal.
fn progress(targets: u64) -> ProgressBar {
    let bar = ProgressBar::new(targets);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} devices, {per_sec}, {elapsed}") {
        bar.set_style(style);
    }
    bar
}

/// Prints a line beside the bar.
fn line(progress: &ProgressBar, text: &str) -> std::io::Result<()> {
    progress.suspend(|| output::print(text))
}

fn row(device: &str, outcome: &str, node: &str, time: &str, answer: &str) -> String {
    let row = format!("{device:<24}  {outcome:<12}  {node:<8}  {time:>12}  {answer}");
    row.trim_end().to_owned()
}

fn result_row(device: &str, result: &Result<InvokeResponse, CallError>) -> String {
    match result {
        Ok(response) => {
            let total = response.timings.and_then(|timings| milliseconds(timings.total?));
            let (time, answer) = (total.unwrap_or_else(|| "-".to_owned()), shown(&response.payload));
            row(device, "ANSWERED", &response.node, &time, &answer)
        }
        Err(error) => {
            let outcome = error.outcome.as_str_name().trim_start_matches("OUTCOME_");
            let why = format!("{}: {}", error.reason_name, error.message);
            row(device, outcome, error.node.as_deref().unwrap_or("-"), "-", &why)
        }
    }
}

/// The beginning of an answer's first line.
fn shown(payload: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(payload) else { return format!("({} bytes)", payload.len()) };
    let first = text.lines().next().unwrap_or_default();
    let mut shown: String = first.chars().filter(|c| !c.is_control()).take(TABLE_ANSWER_CHARS).collect();
    if first.chars().count() > TABLE_ANSWER_CHARS || text.lines().count() > 1 {
        shown.push('…');
    }
    shown
}

fn in_words(summary: &BroadcastSummary) -> String {
    let took = summary.total.and_then(milliseconds).unwrap_or_else(|| "?".to_owned());
    let mut text = format!("{} devices: {} answered", summary.targets, summary.answered);
    for (count, words) in [
        (summary.not_executed, "not executed"),
        (summary.unknown, "unknown"),
        (summary.executed, "executed with an error"),
    ] {
        if count > 0 {
            text += &format!(", {count} {words}");
        }
    }
    text += &format!(", in {took}");
    for (reason, count) in summary.reasons.iter().collect::<BTreeMap<_, _>>() {
        text += &format!("\n  {reason}: {count}");
    }
    text
}

fn result_json(device: &str, result: &Result<InvokeResponse, CallError>) -> Value {
    match result {
        Ok(response) => {
            let total = response.timings.and_then(|timings| timings.total);
            let total =
                total.and_then(|total| Duration::try_from(total).ok()).map(|total| total.as_secs_f64());
            let mut value = json!({
                "device_id": device, "outcome": "ANSWERED", "node": response.node, "epoch": response.epoch,
                "content_type": response.content_type, "metadata": words::sorted(&response.metadata),
                "attempts": response.attempts, "total_s": total,
            });
            let (key, payload) = words::payload(&response.payload);
            value[key] = payload;
            value
        }
        Err(error) => json!({
            "device_id": device,
            "outcome": error.outcome.as_str_name().trim_start_matches("OUTCOME_"),
            "reason": error.reason_name,
            "code": super::exit::code_name(error.code),
            "message": error.message,
            "node": error.node,
            "stage": error.stage,
        }),
    }
}

fn summary_json(summary: &BroadcastSummary) -> Value {
    let total = summary.total.and_then(|total| Duration::try_from(total).ok());
    json!({"summary": {
        "targets": summary.targets,
        "answered": summary.answered,
        "not_executed": summary.not_executed,
        "unknown": summary.unknown,
        "executed": summary.executed,
        "reasons": summary.reasons.iter().collect::<BTreeMap<_, _>>(),
        "total_s": total.map(|total| total.as_secs_f64()),
    }})
}
