//! Checks what an agent says about its device: lengths and counts, with messages that name the field.

use std::sync::Arc;

use bytes::Bytes;
use rollcall_proto::device;
use rollcall_registry::model::{
    ids::{AttachNumber, DeviceKey, Epoch, InstanceId},
    profile::Profile,
};

use crate::{
    core::{
        pressure::Work,
        returned::{Returned, Told},
        token::CallToken,
    },
    limits,
};

/// A well-formed attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AttachRequest {
    /// Which device.
    pub(crate) key: DeviceKey,
    /// The agent process.
    pub(crate) instance: InstanceId,
    /// The device's own order of its attaches.
    pub(crate) attach_number: AttachNumber,
    /// What the device is and offers.
    pub(crate) profile: Arc<Profile>,
    /// What it says of its former session, if it has had one.
    pub(crate) former: Option<Box<Former>>,
    /// How important it is to let the device in.
    pub(crate) work: Work,
}

/// What an attach says of the device's former session. None of it is believed without a genuine token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Former {
    /// The cluster of `epoch`, as text.
    pub(crate) cluster_id: String,
    /// The newest epoch that the agent has held.
    pub(crate) epoch: Epoch,
    /// From the newest Attached.
    pub(crate) resume_token: Bytes,
    /// The calls that it has of its former sessions.
    pub(crate) returned: Arc<Returned>,
}

fn former(attach: &device::Attach) -> Option<Box<Former>> {
    if attach.newest_epoch == 0 || attach.resume_token.is_empty() {
        return None;
    }
    let lists =
        [(&attach.running, Told::Running), (&attach.finished, Told::Finished), (&attach.gone, Told::Gone)];
    let told = lists.into_iter().flat_map(|(tokens, told)| {
        tokens.iter().filter_map(move |token| Some((CallToken::from_bytes(token)?, told)))
    });
    Some(Box::new(Former {
        cluster_id: attach.cluster_id.clone(),
        epoch: Epoch(attach.newest_epoch),
        resume_token: attach.resume_token.clone(),
        returned: Arc::new(Returned::new(told, attach.lists_all)),
    }))
}

/// Checks an attach.
///
/// # Errors
/// A message that names the field.
pub(crate) fn check_attach(attach: device::Attach) -> Result<AttachRequest, String> {
    if attach.namespace.len() > limits::NAME_BYTES {
        return Err(format!("namespace: longer than {} bytes", limits::NAME_BYTES));
    }
    check_name("device_id", &attach.device_id)?;
    if attach.instance == 0 {
        return Err("instance: must not be 0".to_owned());
    }
    let former = former(&attach);
    let work = match &attach {
        attach if !attach.running.is_empty() || !attach.finished.is_empty() => Work::Unfinished,
        attach if attach.newest_epoch > 0 => Work::Returning,
        _ => Work::NewDevice,
    };
    Ok(AttachRequest {
        former,
        work,
        key: DeviceKey::new(&attach.namespace, &attach.device_id),
        instance: InstanceId(attach.instance),
        attach_number: AttachNumber(attach.attach_number),
        profile: Arc::new(check_profile(attach.profile.unwrap_or_default())?),
    })
}

/// Checks a profile.
///
/// # Errors
/// A message that names the field.
pub(crate) fn check_profile(profile: device::Profile) -> Result<Profile, String> {
    if profile.groups.is_empty() {
        return Err("profile.groups: at least one is needed".to_owned());
    }
    check_count("profile.groups", profile.groups.len(), limits::GROUPS)?;
    check_count("profile.labels", profile.labels.len(), limits::LABELS)?;
    check_count("profile.actions", profile.actions.len(), limits::ACTIONS)?;
    profile.groups.iter().try_for_each(|group| check_name("profile.groups", group))?;
    profile.actions.iter().try_for_each(|action| check_name("profile.actions", action))?;
    for (key, value) in &profile.labels {
        check_name("profile.labels", key)?;
        if value.len() > limits::NAME_BYTES {
            return Err(format!(
                "profile.labels: the value of {key:?} is longer than {} bytes",
                limits::NAME_BYTES
            ));
        }
    }
    if profile.capacity > limits::CAPACITY {
        return Err(format!("profile.capacity: more than {}", limits::CAPACITY));
    }
    Ok(Profile::new(profile.groups, profile.labels, profile.actions, profile.capacity))
}

fn check_name(field: &str, name: &str) -> Result<(), String> {
    match name.len() {
        0 => Err(format!("{field}: must not be empty")),
        1..=limits::NAME_BYTES => Ok(()),
        _ => Err(format!("{field}: longer than {} bytes", limits::NAME_BYTES)),
    }
}

fn check_count(field: &str, count: usize, limit: usize) -> Result<(), String> {
    if count > limit { Err(format!("{field}: {count} entries, at most {limit} are allowed")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attach() -> device::Attach {
        let profile = device::Profile { groups: vec!["sign".into()], capacity: 0, ..Default::default() };
        device::Attach {
            device_id: "phone-1".into(),
            instance: 7,
            profile: Some(profile),
            ..Default::default()
        }
    }

    #[test]
    fn a_plain_attach_gets_the_defaults() {
        let checked = check_attach(attach()).expect("it is well-formed");
        assert_eq!(checked.key, DeviceKey::new("default", "phone-1"));
        assert_eq!(checked.profile.capacity, 1);
    }

    #[test]
    fn a_refusal_names_the_field() {
        let broken = |change: fn(&mut device::Attach)| {
            let mut attach = attach();
            change(&mut attach);
            check_attach(attach).expect_err("it is malformed")
        };
        assert!(broken(|attach| attach.device_id.clear()).starts_with("device_id:"));
        assert!(broken(|attach| attach.instance = 0).starts_with("instance:"));
        assert!(broken(|attach| attach.namespace = "n".repeat(129)).starts_with("namespace:"));
        assert!(broken(|attach| attach.profile = None).starts_with("profile.groups:"));
        let profile = |change: fn(&mut device::Profile)| {
            let mut profile = attach().profile.expect("it has one");
            change(&mut profile);
            check_profile(profile).expect_err("it is malformed")
        };
        assert!(profile(|profile| profile.groups = vec!["g".into(); 17]).starts_with("profile.groups:"));
        assert!(profile(|profile| profile.actions = vec![String::new()]).starts_with("profile.actions:"));
        assert!(profile(|profile| profile.capacity = 65_537).starts_with("profile.capacity:"));
        assert!(
            profile(|profile| drop(profile.labels.insert("k".into(), "v".repeat(129))))
                .starts_with("profile.labels:")
        );
    }
}
