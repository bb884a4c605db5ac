//! Why a call from this node to a device would or would not arrive, step by step.

use rollcall_proto::api::{ExplainRouteResponse, RouteStep};
use rollcall_registry::{
    model::ids::{DeviceKey, NodeId},
    routes::view::SessionView,
};
use rollcall_router::LinkView;
use tonic::Code;

use super::{
    read::cluster_id,
    status::{Refusal, reason},
    view,
};
use crate::cluster::Cluster;

/// Whether this node is the one to look from.
///
/// # Errors
/// It is not; the refusal names the one to ask, and its API address.
pub(super) fn asked_here<C: Cluster>(cluster: &C, from: &str) -> Result<(), Refusal> {
    if from.is_empty() || from == cluster.status().name {
        return Ok(());
    }
    let Some(node) = cluster.routes().node_by_name(from) else {
        return Err(Refusal::new(Code::NotFound, reason::OTHER_NODE, format!("no node is named {from}"))
            .with("node", from));
    };
    let message = format!("only {from} itself can answer this: ask it at {}", node.addresses.api);
    Err(Refusal::new(Code::FailedPrecondition, reason::OTHER_NODE, message)
        .with("node", from)
        .with("api_addr", node.addresses.api.clone()))
}

/// The route from this node to a device, up to the first step that fails.
pub(super) fn explain<C: Cluster>(
    cluster: &C,
    key: &DeviceKey,
    link: impl Fn(NodeId) -> Option<LinkView>,
) -> ExplainRouteResponse {
    let routes = cluster.routes();
    let mut explained = ExplainRouteResponse {
        from: cluster.status().name,
        index: routes.applied_index().0,
        cluster_id: cluster_id(cluster),
        ..ExplainRouteResponse::default()
    };
    let Some(device) = routes.device(key) else {
        explained.steps.push(step("registry", false, format!("no device {key} is known")));
        return explained;
    };
    explained.device = Some(view::device(&device, routes));
    if !device.enabled {
        explained.steps.push(step("registry", false, "an administrator disabled the device"));
        return explained;
    }
    explained.steps.push(step("registry", true, "known and enabled"));
    let Some(held) = device.session else {
        explained.steps.push(step("session", false, "not connected to any node that is up"));
        return explained;
    };
    explained.steps.push(step("session", true, session_found(&held)));
    let holder = view::node_name(held.node, routes);
    let held_here = held.node == cluster.node();
    explained.steps.push(holder_step(cluster, &held, &holder, held_here));
    if !held_here {
        let seen = link(held.node);
        explained.round_trip =
            seen.as_ref().and_then(|seen| seen.round_trip).and_then(|time| time.try_into().ok());
        explained.steps.push(link_step(seen.as_ref(), &holder));
    }
    explained.reachable = explained.steps.iter().all(|step| step.ok);
    if explained.reachable {
        let how = if held_here { "straight to the device's stream" } else { "in one hop" };
        explained.steps.push(step("delivery", true, how));
    }
    explained
}

fn session_found(held: &SessionView) -> String {
    format!("epoch {} of instance {:016x}", held.epoch, held.instance.0)
}

fn holder_step<C: Cluster>(cluster: &C, held: &SessionView, holder: &str, held_here: bool) -> RouteStep {
    if held_here && !cluster.lease_held() {
        return step(
            "holder",
            true,
            format!("{holder}, this node, without its lease: whom it serves is up to its `isolation`"),
        );
    }
    if held_here {
        return step("holder", true, format!("{holder}, this node"));
    }
    match cluster.routes().node(held.node) {
        Some(node) if node.up && node.incarnation == held.incarnation => {
            step("holder", true, format!("{holder} at {}, up", node.addresses.peer))
        }
        Some(_) => step("holder", false, format!("{holder} is down, or has started anew")),
        None => step("holder", false, format!("{holder} is not a member")),
    }
}

fn link_step(link: Option<&LinkView>, holder: &str) -> RouteStep {
    match link {
        Some(LinkView { up: true, round_trip: Some(time), .. }) => {
            step("link", true, format!("up, {:.3} ms there and back", time.as_secs_f64() * 1_000.0))
        }
        Some(LinkView { up: true, round_trip: None, .. }) => step("link", true, "up"),
        Some(LinkView { up: false, .. }) => {
            step("link", false, format!("{holder} does not answer on its link"))
        }
        None => step("link", false, format!("there is no link to {holder}")),
    }
}

fn step(name: &str, ok: bool, detail: impl Into<String>) -> RouteStep {
    RouteStep { name: name.to_owned(), ok, detail: detail.into() }
}
