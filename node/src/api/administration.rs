//! What an administrator asks of the registry, judged and done: devices' records, and the rules for them.

use std::{collections::HashMap, time::Duration};

use rollcall_proto::api::{
    CreateDeviceRequest, DeleteDeviceRequest, Device, RegistrationMode as ApiMode, RegistryPolicy,
    UpdateDeviceRequest,
};
use rollcall_registry::{
    Administration,
    limits::{RECORD_TTL_LEAST, RECORD_TTL_MOST},
    model::{
        command::{DeleteDevice, Expect, PutDevice, SetPolicy},
        ids::{DeviceKey, Etag, LogIndex},
        policy::{Policy, RegistrationMode},
        profile::{canonical_labels, canonical_names},
    },
};

use super::{
    status::Refusal,
    validate::{self, Invalid},
    view,
};
use crate::{cluster::Cluster, limits::GROUPS};

/// Registers a device.
pub(super) async fn create<C: Cluster>(
    cluster: &C,
    request: CreateDeviceRequest,
) -> Result<(Device, LogIndex), Refusal> {
    validate::device(&request.namespace, &request.device_id)?;
    judge_assigned(&request.groups, &request.labels)?;
    let put = PutDevice {
        device: DeviceKey::new(&request.namespace, &request.device_id),
        expect: Expect::NoRecord,
        new_etag: new_etag(),
        groups: Some(canonical_names(request.groups)),
        labels: Some(canonical_labels(request.labels)),
        enabled: Some(!request.disabled),
    };
    put_device(cluster, put).await
}

/// Changes a device's record.
pub(super) async fn update<C: Cluster>(
    cluster: &C,
    request: UpdateDeviceRequest,
) -> Result<(Device, LogIndex), Refusal> {
    validate::device(&request.namespace, &request.device_id)?;
    judge_assigned(&request.groups, &request.labels)?;
    let mask = Mask::read(request.update_mask.unwrap_or_default().paths)?;
    let put = PutDevice {
        device: DeviceKey::new(&request.namespace, &request.device_id),
        expect: read_etag(&request.etag)?.map_or(Expect::AnyRecord, Expect::Etag),
        new_etag: new_etag(),
        groups: mask.groups.then(|| canonical_names(request.groups)),
        labels: mask.labels.then(|| canonical_labels(request.labels)),
        enabled: mask.enabled.then_some(request.enabled),
    };
    put_device(cluster, put).await
}

/// Deletes a device's record.
pub(super) async fn delete<C: Cluster>(
    cluster: &C,
    request: DeleteDeviceRequest,
) -> Result<LogIndex, Refusal> {
    validate::device(&request.namespace, &request.device_id)?;
    let device = DeviceKey::new(&request.namespace, &request.device_id);
    let delete = DeleteDevice { device, etag: read_etag(&request.etag)? };
    let deleted = cluster.administer(Administration::Delete(delete)).await;
    deleted.map_err(|error| Refusal::of_administration(&request.device_id, &error))
}

/// Changes the rules for records.
pub(super) async fn set_policy<C: Cluster>(cluster: &C, policy: RegistryPolicy) -> Result<LogIndex, Refusal> {
    let registration = match ApiMode::try_from(policy.registration) {
        Ok(ApiMode::Unspecified) => None,
        Ok(ApiMode::Open) => Some(RegistrationMode::Open),
        Ok(ApiMode::Known) => Some(RegistrationMode::Known),
        Err(_) => return Err(Invalid::new("policy.registration", "not a mode that this node knows").into()),
    };
    let record_ttl = policy.record_ttl.map(record_ttl).transpose()?;
    let set = SetPolicy { registration, record_ttl };
    let done = cluster.administer(Administration::SetPolicy(set)).await;
    done.map_err(|error| Refusal::of_administration("", &error))
}

/// The rules as answers show them.
pub(super) fn show_policy(policy: Policy) -> RegistryPolicy {
    let registration = match policy.registration {
        RegistrationMode::Open => ApiMode::Open,
        RegistrationMode::Known => ApiMode::Known,
    };
    RegistryPolicy { registration: registration as i32, record_ttl: policy.record_ttl.try_into().ok() }
}

async fn put_device<C: Cluster>(cluster: &C, put: PutDevice) -> Result<(Device, LogIndex), Refusal> {
    let key = put.device.clone();
    let done = cluster.administer(Administration::Put(put)).await;
    let index = done.map_err(|error| Refusal::of_administration(&key.device, &error))?;
    let routes = cluster.routes();
    // It may have been deleted since.
    let device = routes.device(&key).ok_or_else(|| Refusal::unknown_device(&key.device))?;
    Ok((view::device(&device, routes), index))
}

/// Which fields an update changes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mask {
    groups: bool,
    labels: bool,
    enabled: bool,
}

impl Mask {
    /// A mask must be there: with none, nobody could tell whether `enabled: false` was meant or left out.
    fn read(paths: Vec<String>) -> Result<Self, Invalid> {
        let mut mask = Self::default();
        for path in &paths {
            match path.as_str() {
                "groups" => mask.groups = true,
                "labels" => mask.labels = true,
                "enabled" => mask.enabled = true,
                "*" => mask = Self { groups: true, labels: true, enabled: true },
                other => return Err(Invalid::new("update_mask", format!("`{other}` cannot be changed"))),
            }
        }
        if paths.is_empty() {
            return Err(Invalid::new("update_mask", "is required: `groups`, `labels`, `enabled`, or `*`"));
        }
        Ok(mask)
    }
}

fn judge_assigned(groups: &[String], labels: &HashMap<String, String>) -> Result<(), Invalid> {
    if groups.len() > GROUPS {
        let problem = format!("{} entries, at most {GROUPS} are allowed", groups.len());
        return Err(Invalid::new("groups", problem));
    }
    groups.iter().try_for_each(|group| validate::required("groups", group))?;
    validate::labels(labels)?;
    labels.keys().try_for_each(|key| validate::required("labels", key))
}

/// `None`: whatever the record has.
pub(super) fn read_etag(text: &str) -> Result<Option<Etag>, Invalid> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let etag = u64::from_str_radix(text, 16).ok().filter(|_| digits);
    etag.map(|etag| Some(Etag(etag))).ok_or_else(|| Invalid::new("etag", "not an etag of a device"))
}

/// Random: a repeat of the change is recognised by it, and no two changes share one.
pub(super) fn new_etag() -> Etag {
    Etag(rand::random_range(1..=u64::MAX))
}

fn record_ttl(given: prost_types::Duration) -> Result<Duration, Invalid> {
    let ttl = Duration::try_from(given).ok().filter(|ttl| (RECORD_TTL_LEAST..=RECORD_TTL_MOST).contains(ttl));
    // Whole milliseconds, as they are stored.
    let millis = ttl.and_then(|ttl| u64::try_from(ttl.as_millis()).ok());
    millis
        .map(Duration::from_millis)
        .ok_or_else(|| Invalid::new("policy.record_ttl", "must be 1 s to 365 days"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str]) -> Result<Mask, Invalid> {
        Mask::read(paths.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_update_says_what_it_changes() {
        assert_eq!(mask(&["labels"]), Ok(Mask { labels: true, ..Mask::default() }));
        assert_eq!(mask(&["*"]), Ok(Mask { groups: true, labels: true, enabled: true }));
        assert_eq!(mask(&[]).map_err(|invalid| invalid.field), Err("update_mask"));
        assert_eq!(mask(&["enabled", "session"]).map_err(|invalid| invalid.field), Err("update_mask"));
    }

    #[test]
    fn an_etag_comes_back_as_it_was_given() {
        for etag in [Etag(0), Etag(7), new_etag()] {
            assert_eq!(read_etag(&view::etag(etag)), Ok(Some(etag)));
        }
        assert_eq!(read_etag(""), Ok(None));
        for odd in ["7", "000000000000000g", "00000000000000007", "+000000000000007"] {
            assert!(read_etag(odd).is_err(), "{odd}");
        }
    }
}
