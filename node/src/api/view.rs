//! Devices as answers show them.

use std::time::Duration;

use rollcall_proto::api;
use rollcall_registry::{
    Routes,
    model::{
        event::SessionRef,
        ids::{Etag, NodeId, UnixMillis},
        policy::{Policy, RegistrationMode},
        profile::Profile,
        record::{Assigned, Standing},
    },
    routes::view::{DeviceView, SessionView},
};

/// A device as the registry has it.
pub(super) fn device(view: &DeviceView, routes: &Routes) -> api::Device {
    let bare = bare(&view.key, &view.profile, view.enabled);
    let session = view.session.as_ref().map(|held| session(held, &view.profile, routes));
    on_record(api::Device { session, ..bare }, &view.standing, routes.policy())
}

/// A device with who answers for its record.
pub(super) fn on_record(device: api::Device, standing: &Standing, policy: Policy) -> api::Device {
    let (assigned, expire_time) = match standing {
        Standing::SelfMade { away_since } => (None, expire_time(*away_since, policy)),
        Standing::Registered { assigned, .. } => (Some(assigned_by(assigned)), None),
    };
    let etag = etag(standing.etag());
    api::Device { etag, registered: assigned.is_some(), assigned, expire_time, ..device }
}

/// An etag as callers see it.
pub(super) fn etag(etag: Etag) -> String {
    format!("{:016x}", etag.0)
}

fn assigned_by(assigned: &Assigned) -> api::Assigned {
    api::Assigned {
        groups: assigned.groups.iter().map(ToString::to_string).collect(),
        labels: assigned.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
    }
}

fn expire_time(away_since: UnixMillis, policy: Policy) -> Option<prost_types::Timestamp> {
    let expires = policy.registration == RegistrationMode::Open && away_since != UnixMillis(0);
    let at = Duration::from_millis(away_since.0).checked_add(policy.record_ttl).filter(|_| expires)?;
    let nanos = i32::try_from(at.subsec_nanos()).ok()?;
    Some(prost_types::Timestamp { seconds: i64::try_from(at.as_secs()).ok()?, nanos })
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
        ..api::Device::default()
    }
}

fn session(held: &SessionView, profile: &Profile, routes: &Routes) -> api::Session {
    session_of(&held.reference(), profile, routes)
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
