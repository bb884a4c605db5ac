//! The records of a snapshot: devices.

use std::sync::Arc;

use compact_str::CompactString;
use rollcall_proto::storage as proto;

use super::profile::{labels_from_proto, labels_to_proto};
use crate::{
    model::{
        ids::{AttachNumber, Epoch, Etag, Incarnation, InstanceId, NodeId, UnixMillis},
        profile::{canonical_labels, canonical_names},
        record::{Assigned, Standing},
    },
    routes::row::Row,
};

/// A device's record. `unused_since` is that of the snapshot's moment; the row's life may have ended meanwhile.
pub(crate) fn device_to_proto(row: &Row, profile: u32, unused_since: UnixMillis) -> proto::DeviceRecord {
    let holder = row.cohort.holder.as_deref();
    let assignment = row.cohort.assigned.as_ref().map(|assigned| proto::Assignment {
        etag: row.standing().etag().0,
        groups: assigned.groups.iter().map(CompactString::to_string).collect(),
        labels: labels_to_proto(&assigned.labels),
    });
    proto::DeviceRecord {
        namespace: row.cohort.namespace.to_string(),
        device_id: row.device.to_string(),
        profile,
        disabled: !row.cohort.enabled,
        epoch: row.epoch.0,
        instance: row.instance.0,
        attach_number: row.attach_number.0,
        node_id: holder.map_or(0, |life| life.node.0),
        incarnation: holder.map_or(0, |life| life.incarnation.0),
        away_since_unix_ms: unused_since.0,
        assignment,
    }
}

/// A device's record, without what it names by number: its profile, its holder.
pub(crate) struct DeviceRow {
    pub(crate) namespace: CompactString,
    pub(crate) device: CompactString,
    pub(crate) profile: u32,
    pub(crate) standing: Standing,
    pub(crate) epoch: Epoch,
    pub(crate) instance: InstanceId,
    pub(crate) attach_number: AttachNumber,
    pub(crate) holder: Option<(NodeId, Incarnation)>,
    /// Of a void session: when its holder's life ended.
    pub(crate) away_since: UnixMillis,
}

pub(crate) fn device_from_proto(record: proto::DeviceRecord) -> DeviceRow {
    let holder = (NodeId(record.node_id), Incarnation(record.incarnation));
    let away_since = UnixMillis(record.away_since_unix_ms);
    // Disabled without an assignment: as records were before there were any.
    let registered = record.assignment.is_some() || record.disabled;
    let standing = if registered {
        let assignment = record.assignment.unwrap_or_default();
        let assigned = Assigned {
            groups: canonical_names(assignment.groups),
            labels: canonical_labels(labels_from_proto(assignment.labels)),
            enabled: !record.disabled,
        };
        Standing::Registered { etag: Etag(assignment.etag), assigned: Arc::new(assigned) }
    } else {
        Standing::SelfMade { away_since: if record.node_id == 0 { away_since } else { UnixMillis(0) } }
    };
    DeviceRow {
        namespace: record.namespace.into(),
        device: record.device_id.into(),
        profile: record.profile,
        standing,
        epoch: Epoch(record.epoch),
        instance: InstanceId(record.instance),
        attach_number: AttachNumber(record.attach_number),
        holder: (record.node_id != 0).then_some(holder),
        away_since,
    }
}
