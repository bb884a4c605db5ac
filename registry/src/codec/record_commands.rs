//! The commands about devices' records and the rules for them.

use std::time::Duration;

use compact_str::CompactString;
use rollcall_proto::storage::{self as proto, put_device};

use super::{
    CodecError,
    profile::{labels_from_proto, labels_to_proto},
};
use crate::model::{
    command::{DeleteDevice, Expect, PutDevice, RemoveExpired, SetPolicy, Sweep},
    ids::{DeviceKey, Epoch, Etag, UnixMillis},
    policy::RegistrationMode,
    profile::{canonical_labels, canonical_names},
};

pub(super) fn put_device_to_proto(put: &PutDevice) -> proto::PutDevice {
    let groups = |groups: &Vec<CompactString>| proto::AssignedGroups {
        groups: groups.iter().map(CompactString::to_string).collect(),
    };
    let labels = |labels: &Vec<_>| proto::AssignedLabels { labels: labels_to_proto(labels) };
    proto::PutDevice {
        device: Some(name_to_proto(&put.device)),
        expect: Some(match put.expect {
            Expect::AnyRecord => put_device::Expect::Any(proto::AnyRecord {}),
            Expect::NoRecord => put_device::Expect::None(proto::NoRecord {}),
            Expect::Etag(etag) => put_device::Expect::Etag(etag.0),
        }),
        new_etag: put.new_etag.0,
        groups: put.groups.as_ref().map(groups),
        labels: put.labels.as_ref().map(labels),
        enabled: put.enabled,
    }
}

pub(super) fn put_device_from_proto(put: proto::PutDevice) -> Result<PutDevice, CodecError> {
    let expect = match put.expect.ok_or(CodecError::UnknownKind("what a record must be"))? {
        put_device::Expect::Any(_) => Expect::AnyRecord,
        put_device::Expect::None(_) => Expect::NoRecord,
        put_device::Expect::Etag(etag) => Expect::Etag(Etag(etag)),
    };
    Ok(PutDevice {
        device: name_from_proto(put.device)?,
        expect,
        new_etag: Etag(put.new_etag),
        groups: put.groups.map(|assigned| canonical_names(assigned.groups)),
        labels: put.labels.map(|assigned| canonical_labels(labels_from_proto(assigned.labels))),
        enabled: put.enabled,
    })
}

pub(super) fn delete_device_to_proto(delete: &DeleteDevice) -> proto::DeleteDevice {
    proto::DeleteDevice { device: Some(name_to_proto(&delete.device)), etag: delete.etag.map(|etag| etag.0) }
}

pub(super) fn delete_device_from_proto(delete: proto::DeleteDevice) -> Result<DeleteDevice, CodecError> {
    Ok(DeleteDevice { device: name_from_proto(delete.device)?, etag: delete.etag.map(Etag) })
}

pub(super) fn set_policy_to_proto(set: &SetPolicy) -> proto::SetPolicy {
    let registration = set.registration.map(registration_to_proto);
    proto::SetPolicy {
        registration: registration.unwrap_or(proto::RegistrationMode::Unspecified).into(),
        record_ttl_ms: set.record_ttl.map_or(0, record_ttl_to_proto),
    }
}

pub(super) fn set_policy_from_proto(set: proto::SetPolicy) -> Result<SetPolicy, CodecError> {
    Ok(SetPolicy {
        registration: registration_from_proto(set.registration)?,
        record_ttl: record_ttl_from_proto(set.record_ttl_ms),
    })
}

pub(super) fn remove_expired_to_proto(expired: &RemoveExpired) -> proto::RemoveExpired {
    proto::RemoveExpired {
        cutoff_unix_ms: expired.cutoff.0,
        at_unix_ms: expired.at.0,
        devices: expired.devices.iter().map(name_to_proto).collect(),
    }
}

pub(super) fn remove_expired_from_proto(expired: proto::RemoveExpired) -> RemoveExpired {
    RemoveExpired {
        cutoff: UnixMillis(expired.cutoff_unix_ms),
        at: UnixMillis(expired.at_unix_ms),
        devices: expired.devices.into_iter().map(key).collect(),
    }
}

pub(super) fn sweep_to_proto(sweep: &Sweep) -> proto::Sweep {
    let row = |(device, epoch): &(DeviceKey, Epoch)| proto::SweptRow {
        device: Some(name_to_proto(device)),
        epoch: epoch.0,
    };
    proto::Sweep { rows: sweep.rows.iter().map(row).collect() }
}

pub(super) fn sweep_from_proto(sweep: proto::Sweep) -> Result<Sweep, CodecError> {
    let row = |row: proto::SweptRow| Ok((name_from_proto(row.device)?, Epoch(row.epoch)));
    Ok(Sweep { rows: sweep.rows.into_iter().map(row).collect::<Result<_, CodecError>>()? })
}

pub(crate) fn registration_to_proto(mode: RegistrationMode) -> proto::RegistrationMode {
    match mode {
        RegistrationMode::Open => proto::RegistrationMode::Open,
        RegistrationMode::Known => proto::RegistrationMode::Known,
    }
}

/// `None`: not said.
pub(crate) fn registration_from_proto(mode: i32) -> Result<Option<RegistrationMode>, CodecError> {
    match proto::RegistrationMode::try_from(mode) {
        Ok(proto::RegistrationMode::Unspecified) => Ok(None),
        Ok(proto::RegistrationMode::Open) => Ok(Some(RegistrationMode::Open)),
        Ok(proto::RegistrationMode::Known) => Ok(Some(RegistrationMode::Known)),
        Err(_) => Err(CodecError::UnknownKind("a registration mode")),
    }
}

/// Whole milliseconds, at least one: 0 stands for what is not said.
pub(super) fn record_ttl_to_proto(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)
}

pub(super) fn record_ttl_from_proto(millis: u64) -> Option<Duration> {
    (millis != 0).then(|| Duration::from_millis(millis))
}

fn name_to_proto(device: &DeviceKey) -> proto::DeviceName {
    proto::DeviceName { namespace: device.namespace.to_string(), device_id: device.device.to_string() }
}

fn name_from_proto(device: Option<proto::DeviceName>) -> Result<DeviceKey, CodecError> {
    device.map(key).ok_or(CodecError::Missing("a device"))
}

fn key(device: proto::DeviceName) -> DeviceKey {
    DeviceKey { namespace: device.namespace.into(), device: device.device_id.into() }
}
