//! `rollcall invoke`: one call, its payload from an argument, a file or stdin.

use std::{io::Write, time::Duration};

use clap::Args;
use rollcall_proto::api::{InvokeRequest, InvokeResponse};
use serde_json::json;

use super::{
    CliError, client,
    output::{self, Form, Output},
    sent::Sent,
    words,
};

/// Call a device and print its answer.
#[derive(Debug, Args)]
pub struct Invoke {
    /// The group that the device belongs to
    group: String,
    /// What the device is asked to do
    action: String,
    #[command(flatten)]
    sent: Sent,
    /// The device to call [default: any of the group]
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    device: String,
    /// How long the call may take [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// How long to wait for a device to connect, within the timeout [default: not at all]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    connect_wait: Option<Duration>,
    /// The name of the call [default: made by the node]
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
    /// The call may be executed more than once: it is sent again when nobody knows whether it ran
    #[arg(long)]
    idempotent: bool,
    /// Calls with the same key go to the same device while it has room
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    affinity_key: String,
    #[command(flatten)]
    nodes: client::Nodes,
    #[command(flatten)]
    output: Output,
}

impl Invoke {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let (nodes, form) = (self.nodes.clone(), self.output.output);
        let (client, request) = (nodes.client()?, self.request().await?);
        let response = match client.invoke(request).await {
            Ok(response) => response,
            Err(error) => return Err(nodes.explain(error).await),
        };
        match form {
            Form::Json => output::print_json(&as_json(&response))?,
            Form::Text => {
                write_payload(&response.payload)?;
                eprintln!("{}", summary(&response));
            }
        }
        Ok(())
    }

    async fn request(self) -> Result<InvokeRequest, CliError> {
        let duration = |duration: Option<Duration>| duration.and_then(|duration| duration.try_into().ok());
        Ok(InvokeRequest {
            payload: self.sent.payload().await?,
            namespace: self.sent.namespace,
            group: self.group,
            action: self.action,
            device_id: self.device,
            content_type: self.sent.content_type,
            metadata: self.sent.metadata.into_iter().collect(),
            labels: self.sent.labels.into_iter().collect(),
            affinity_key: self.affinity_key,
            request_id: self.request_id,
            idempotent: self.idempotent,
            connect_wait: duration(self.connect_wait),
            timeout: duration(self.timeout),
            min_index: 0,
        })
    }
}

/// The payload as it is; a newline after it only where a person reads.
fn write_payload(payload: &[u8]) -> std::io::Result<()> {
    use std::io::IsTerminal;
    let mut out = std::io::stdout().lock();
    out.write_all(payload)?;
    if out.is_terminal() && !payload.ends_with(b"\n") {
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn summary(response: &InvokeResponse) -> String {
    let times = response.timings.unwrap_or_default();
    let parts = [
        ("queue", times.queue),
        ("forward", times.forward),
        ("write", times.write),
        ("device", times.device),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter_map(|(name, time)| Some(format!("{name} {}", milliseconds(time?)?)))
        .collect();
    let total = times.total.and_then(milliseconds).unwrap_or_else(|| "?".to_owned());
    let detail = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
    format!(
        "{} on {} in {total}{detail}, epoch {}, request {}{}",
        response.device_id,
        response.node,
        response.epoch,
        response.request_id,
        if response.attempts > 1 { format!(", {} attempts", response.attempts) } else { String::new() },
    )
}

pub(super) fn milliseconds(time: prost_types::Duration) -> Option<String> {
    let time = Duration::try_from(time).ok()?;
    Some(format!("{:.3} ms", time.as_secs_f64() * 1_000.0))
}

fn as_json(response: &InvokeResponse) -> serde_json::Value {
    let times = response.timings.unwrap_or_default();
    let seconds = |time: Option<prost_types::Duration>| {
        time.and_then(|time| Duration::try_from(time).ok()).map(|time| time.as_secs_f64())
    };
    let mut value = json!({
        "content_type": response.content_type,
        "metadata": words::sorted(&response.metadata),
        "device_id": response.device_id,
        "epoch": response.epoch,
        "node": response.node,
        "request_id": response.request_id,
        "attempts": response.attempts,
        "index": response.index,
        "cluster_id": response.cluster_id,
        "timings": {
            "queue_s": seconds(times.queue),
            "forward_s": seconds(times.forward),
            "write_s": seconds(times.write),
            "device_s": seconds(times.device),
            "total_s": seconds(times.total),
        },
    });
    let (key, payload) = words::payload(&response.payload);
    value[key] = payload;
    value
}
