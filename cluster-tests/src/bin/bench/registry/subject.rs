//! What is registered: a 20-byte id, 2 groups, 3 labels, 3 actions.

use std::sync::Arc;

use rollcall_registry::model::{
    command::OpenSession,
    ids::{AttachNumber, DeviceKey, InstanceId},
    profile::Profile,
};

/// Profiles that differ; more devices than profiles, as in life.
pub(crate) const PROFILES: usize = 300;

/// A device's id: 20 bytes.
pub(crate) fn device_id(number: u64) -> String {
    format!("device-{number:013}")
}

/// A device's key.
pub(crate) fn key(number: u64) -> DeviceKey {
    DeviceKey::new("default", &device_id(number))
}

/// All profiles.
pub(crate) fn profiles() -> Vec<Arc<Profile>> {
    (0..PROFILES).map(|number| Arc::new(profile(number))).collect()
}

fn profile(number: usize) -> Profile {
    let (site, model) = (format!("site-{}", number % 100), format!("model-{}", number % 7));
    Profile::new(
        ["sign", if number.is_multiple_of(2) { "even" } else { "odd" }],
        [("site", site.as_str()), ("model", model.as_str()), ("os", "linux-6.1")],
        ["echo", "render", "restart"],
        4,
    )
}

/// A session to be opened.
pub(crate) fn open(instance: u64, attach_number: u64, profile: &Arc<Profile>) -> OpenSession {
    OpenSession {
        instance: InstanceId(instance),
        attach_number: AttachNumber(attach_number),
        profile: Arc::clone(profile),
        remote_addr: "10.0.0.1:40000".into(),
        only_if: None,
    }
}
