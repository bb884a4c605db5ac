//! The API's messages as JSON and as table cells.

use base64::{Engine, engine::general_purpose::STANDARD};
use rollcall_proto::api::{Device, Node, NodeRole, NodeState, Session};
use serde_json::{Value, json};

/// A device as JSON.
pub(super) fn device(device: &Device) -> Value {
    json!({
        "namespace": device.namespace,
        "device_id": device.device_id,
        "groups": device.groups,
        "labels": sorted(&device.labels),
        "enabled": device.enabled,
        "session": device.session.as_ref().map(session),
        "etag": device.etag,
        "registered": device.registered,
        "assigned": device.assigned.as_ref().map(|assigned| json!({
            "groups": assigned.groups,
            "labels": sorted(&assigned.labels),
        })),
        "expire_time": device.expire_time.map(|at| at.to_string()),
    })
}

/// Who answers for a device's record, in words.
pub(super) fn record(device: &Device) -> String {
    match (device.registered, device.expire_time) {
        (true, _) => "registered by an administrator".to_owned(),
        (false, Some(at)) => format!("made by the device, goes at {at}"),
        (false, None) => "made by the device".to_owned(),
    }
}

fn session(session: &Session) -> Value {
    json!({
        "node": session.node,
        "node_id": session.node_id,
        "epoch": session.epoch,
        "capacity": session.capacity,
        "actions": session.actions,
        "instance": session.instance,
        "incarnation": session.incarnation,
    })
}

/// A node as JSON.
pub(super) fn node(node: &Node) -> Value {
    json!({
        "name": node.name,
        "node_id": node.node_id,
        "role": role(node),
        "state": state(node),
        "peer_addr": node.peer_addr,
        "api_addr": node.api_addr,
        "device_addr": node.device_addr,
        "http_addr": node.http_addr,
        "incarnation": node.incarnation,
        "sessions": node.sessions,
        "version": node.version,
        "feature_level": node.feature_level,
    })
}

/// A node's role in a word.
pub(super) fn role(node: &Node) -> &'static str {
    match node.role() {
        NodeRole::Unspecified => "unknown",
        NodeRole::Leader => "leader",
        NodeRole::Voter => "voter",
        NodeRole::Learner => "learner",
    }
}

/// A node's state in a word.
pub(super) fn state(node: &Node) -> &'static str {
    match node.state() {
        NodeState::Unspecified => "unknown",
        NodeState::Up => "up",
        NodeState::Down => "down",
        NodeState::Draining => "draining",
    }
}

/// Labels in the order of their keys: `a=1,b=2`.
pub(super) fn labels(device: &Device) -> String {
    let labels: Vec<String> =
        sorted(&device.labels).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    labels.join(",")
}

/// A map in the order of its keys.
pub(super) fn sorted(
    map: &std::collections::HashMap<String, String>,
) -> std::collections::BTreeMap<&str, &str> {
    map.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// Bytes as JSON: as text if they are, else in base64; never both.
pub(super) fn payload(bytes: &[u8]) -> (&'static str, Value) {
    match std::str::from_utf8(bytes) {
        Ok(text) => ("payload", text.into()),
        Err(_) => ("payload_base64", STANDARD.encode(bytes).into()),
    }
}

/// `KEY=VALUE` of a flag.
pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not KEY=VALUE")),
    }
}
