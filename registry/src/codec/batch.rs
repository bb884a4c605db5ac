//! Batches of session changes as they are written at the first feature level: change by change. From the next level on `pack`
//! writes them in columns.

use std::sync::Arc;

use rollcall_proto::storage::{self as proto, session_change::Kind};

use super::{
    CodecError,
    profile::{profile_from_proto, profile_to_proto},
};
use crate::model::{
    command::{Batch, ChangeKind, OpenSession, SessionChange},
    ids::{AttachNumber, BatchNumber, DeviceKey, Epoch, Incarnation, InstanceId, NodeId, UnixMillis},
    profile::Profile,
};

pub(super) fn batch_to_proto(batch: &Batch) -> proto::Batch {
    proto::Batch {
        node_id: batch.node.0,
        incarnation: batch.incarnation.0,
        number: batch.number.0,
        changes: batch.changes.iter().map(change_to_proto).collect(),
        at_unix_ms: batch.at.0,
    }
}

fn change_to_proto(change: &SessionChange) -> proto::SessionChange {
    let kind = match &change.kind {
        ChangeKind::Open(open) => Kind::Open(open_to_proto(open)),
        ChangeKind::Close(epoch) => Kind::Close(proto::CloseSession { epoch: epoch.0 }),
        ChangeKind::Update(epoch, profile) => {
            Kind::Update(proto::UpdateSession { epoch: epoch.0, profile: Some(profile_to_proto(profile)) })
        }
    };
    proto::SessionChange {
        namespace: change.device.namespace.to_string(),
        device_id: change.device.device.to_string(),
        kind: Some(kind),
    }
}

fn open_to_proto(open: &OpenSession) -> proto::OpenSession {
    proto::OpenSession {
        instance: open.instance.0,
        attach_number: open.attach_number.0,
        profile: Some(profile_to_proto(&open.profile)),
        remote_addr: open.remote_addr.to_string(),
        only_if_epoch: open.only_if.map_or(0, |epoch| epoch.0),
    }
}

pub(super) fn batch_from_proto(batch: proto::Batch) -> Result<Batch, CodecError> {
    Ok(Batch {
        node: NodeId(batch.node_id),
        incarnation: Incarnation(batch.incarnation),
        number: BatchNumber(batch.number),
        changes: batch.changes.into_iter().map(change_from_proto).collect::<Result<_, _>>()?,
        at: UnixMillis(batch.at_unix_ms),
    })
}

fn change_from_proto(change: proto::SessionChange) -> Result<SessionChange, CodecError> {
    let kind = match change.kind.ok_or(CodecError::UnknownKind("a session change"))? {
        Kind::Open(open) => ChangeKind::Open(open_from_proto(open)?),
        Kind::Close(close) => ChangeKind::Close(Epoch(close.epoch)),
        Kind::Update(update) => ChangeKind::Update(Epoch(update.epoch), required(update.profile)?),
    };
    let device = DeviceKey { namespace: change.namespace.into(), device: change.device_id.into() };
    Ok(SessionChange { device, kind })
}

fn open_from_proto(open: proto::OpenSession) -> Result<OpenSession, CodecError> {
    Ok(OpenSession {
        instance: InstanceId(open.instance),
        attach_number: AttachNumber(open.attach_number),
        profile: required(open.profile)?,
        remote_addr: open.remote_addr.into(),
        only_if: (open.only_if_epoch != 0).then_some(Epoch(open.only_if_epoch)),
    })
}

fn required(profile: Option<proto::DeviceProfile>) -> Result<Arc<Profile>, CodecError> {
    profile.map(|profile| Arc::new(profile_from_proto(profile))).ok_or(CodecError::Missing("a profile"))
}
