//! `rollcall route explain`: why a device can or cannot be reached from a node.

use clap::{Args, Subcommand};
use rollcall_proto::api::{
    ExplainRouteRequest, ExplainRouteResponse, registry_service_client::RegistryServiceClient,
};
use serde_json::{Value, json};

use super::{
    CliError, client, nodes,
    output::{self, Form, Output},
    words,
};

/// What to do with routes.
#[derive(Debug, Subcommand)]
pub enum Route {
    /// Why a call from a node to a device would or would not arrive.
    Explain(Explain),
}

/// `rollcall route explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The device
    device: String,
    /// The node to look from, by name; it is asked itself [default: the node that is asked]
    #[arg(long, value_name = "NODE", default_value = "", hide_default_value = true)]
    from: String,
    /// The device's namespace
    #[arg(long, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    nodes: client::Nodes,
    #[command(flatten)]
    output: Output,
}

impl Route {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let Self::Explain(explain) = self;
        let mut channel = explain.nodes.connect().await?;
        if !explain.from.is_empty() {
            channel = nodes::channel_to(channel, &explain.nodes, &explain.from).await?;
        }
        let request = ExplainRouteRequest {
            namespace: explain.namespace,
            device_id: explain.device,
            from: explain.from,
        };
        let route = RegistryServiceClient::new(channel).explain_route(request).await?.into_inner();
        match explain.output.output {
            Form::Json => output::print_json(&as_json(&route))?,
            Form::Text => output::print(&in_words(&route))?,
        }
        Ok(())
    }
}

fn as_json(route: &ExplainRouteResponse) -> Value {
    let steps: Vec<Value> = route
        .steps
        .iter()
        .map(|step| json!({"name": step.name, "ok": step.ok, "detail": step.detail}))
        .collect();
    json!({
        "reachable": route.reachable,
        "from": route.from,
        "steps": steps,
        "device": route.device.as_ref().map(words::device),
        "round_trip_s": seconds(route),
        "index": route.index,
        "cluster_id": route.cluster_id,
    })
}

fn seconds(route: &ExplainRouteResponse) -> Option<f64> {
    let time = route.round_trip?;
    std::time::Duration::try_from(time).ok().map(|time| time.as_secs_f64())
}

fn in_words(route: &ExplainRouteResponse) -> String {
    let verdict = if route.reachable { "reachable" } else { "NOT reachable" };
    let rows = route.steps.iter().map(|step| {
        let ok = if step.ok { "ok" } else { "NO" };
        [step.name.clone(), ok.to_owned(), step.detail.clone()]
    });
    format!("{verdict} from {}\n{}", route.from, output::table(["step", "", "found"], rows))
}
