//! Devices as answers show them.

use rollcall_proto::api;
use rollcall_registry::{
    Routes,
    model::{event::SessionRef, ids::NodeId, profile::Profile},
    routes::view::{DeviceView, SessionView},
};

/// A device as the registry has it.
pub(super) fn device(view: &DeviceView, routes: &Routes) -> api::Device {
    let known = bare(&view.key, &view.profile, view.enabled);
    api::Device { session: view.session.as_ref().map(|held| session(held, &view.profile, routes)), ..known }
}

/// A device without its session.
pub(super) fn bare(
    key: &rollcall_registry::model::ids::DeviceKey,
    profile: &Profile,
    enabled: bool,
) -> api::Device {
    api::Device {
        namespace: key.namespace.to_string(),
        device_id: key.device.to_string(),
        groups: profile.groups.iter().map(ToString::to_string).collect(),
        labels: profile.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        enabled,
        session: None,
    }
}

fn session(held: &SessionView, profile: &Profile, routes: &Routes) -> api::Session {
    let held = SessionRef {
        node: held.node,
        incarnation: held.incarnation,
        epoch: held.epoch,
        instance: held.instance,
    };
    session_of(&held, profile, routes)
}

/// A session, by what identifies it.
pub(super) fn session_of(held: &SessionRef, profile: &Profile, routes: &Routes) -> api::Session {
    api::Session {
        node: node_name(held.node, routes),
        node_id: held.node.0,
        epoch: held.epoch.0,
        capacity: profile.capacity,
        actions: profile.actions.iter().map(ToString::to_string).collect(),
        instance: held.instance.0,
        incarnation: held.incarnation.0,
    }
}

/// A node's name; its id in words while its name is not known here.
pub(super) fn node_name(id: NodeId, routes: &Routes) -> String {
    routes.node(id).map_or_else(|| format!("node {id}"), |node| node.name.to_string())
}
