//! Batches as they were written by `pack`, read back and checked: every position is one that there is, and the columns
//! are as long as the changes need.

use std::sync::Arc;

use compact_str::CompactString;
use rollcall_proto::storage::{self as proto, PackedChangeKind};

use super::CodecError;
use crate::model::{
    command::{Batch, ChangeKind, OpenSession, SessionChange},
    ids::{AttachNumber, BatchNumber, DeviceKey, Epoch, Incarnation, InstanceId, NodeId, UnixMillis},
    profile::Profile,
};

/// A batch as it was written.
pub(super) fn packed_batch_from_proto(batch: &proto::PackedBatch) -> Result<Batch, CodecError> {
    Ok(Batch {
        node: NodeId(batch.node_id),
        incarnation: Incarnation(batch.incarnation),
        number: BatchNumber(batch.number),
        changes: Columns::of(batch)?.changes()?,
        at: UnixMillis(batch.at_unix_ms),
    })
}

/// What is left of each column.
struct Columns<'a> {
    kinds: &'a [i32],
    names: Vec<CompactString>,
    profiles: Vec<Arc<Profile>>,
    namespaces: Column<'a, u32>,
    device_ids: Texts<'a>,
    instances: Column<'a, u64>,
    attach_numbers: Column<'a, u64>,
    remote_addrs: Texts<'a>,
    only_if_epochs: Column<'a, u64>,
    profile_positions: Column<'a, u32>,
    epochs: Column<'a, u64>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a proto::PackedBatch) -> Result<Self, CodecError> {
        let names: Vec<CompactString> = batch.names.iter().map(CompactString::from).collect();
        let profiles = batch.profiles.iter().map(|profile| unpacked(profile, &names).map(Arc::new));
        Ok(Self {
            kinds: &batch.kinds,
            profiles: profiles.collect::<Result<_, _>>()?,
            names,
            namespaces: Column::of("the namespaces", &batch.namespaces),
            device_ids: Texts::of("the device ids", &batch.device_ids, &batch.device_id_bytes),
            instances: Column::of("the instances", &batch.instances),
            attach_numbers: Column::of("the attach numbers", &batch.attach_numbers),
            remote_addrs: Texts::of("the remote addresses", &batch.remote_addrs, &batch.remote_addr_bytes),
            only_if_epochs: Column::of("the conditions", &batch.only_if_epochs),
            profile_positions: Column::of("the profiles' positions", &batch.profile_positions),
            epochs: Column::of("the epochs", &batch.epochs),
        })
    }

    fn changes(mut self) -> Result<Vec<SessionChange>, CodecError> {
        let mut changes = Vec::with_capacity(self.kinds.len());
        for kind in self.kinds {
            let kind = PackedChangeKind::try_from(*kind).unwrap_or_default();
            let namespace = entry("a namespace", &self.names, self.namespaces.next()?)?.clone();
            let device = DeviceKey { namespace, device: self.device_ids.next()?.into() };
            let kind = match kind {
                PackedChangeKind::Open => ChangeKind::Open(self.open()?),
                PackedChangeKind::Close => ChangeKind::Close(Epoch(self.epochs.next()?)),
                PackedChangeKind::Update => ChangeKind::Update(Epoch(self.epochs.next()?), self.profile()?),
                PackedChangeKind::Unspecified => return Err(CodecError::UnknownKind("a session change")),
            };
            changes.push(SessionChange { device, kind });
        }
        Ok(changes)
    }

    fn open(&mut self) -> Result<OpenSession, CodecError> {
        let (instance, attach_number) = (self.instances.next()?, self.attach_numbers.next()?);
        let (remote_addr, only_if) = (self.remote_addrs.next()?, self.only_if_epochs.next()?);
        Ok(OpenSession {
            instance: InstanceId(instance),
            attach_number: AttachNumber(attach_number),
            profile: self.profile()?,
            remote_addr: remote_addr.into(),
            only_if: (only_if != 0).then_some(Epoch(only_if)),
        })
    }

    fn profile(&mut self) -> Result<Arc<Profile>, CodecError> {
        entry("a profile", &self.profiles, self.profile_positions.next()?).map(Arc::clone)
    }
}

/// A profile, brought to its canonical form if it was not in it.
fn unpacked(profile: &proto::PackedProfile, names: &[CompactString]) -> Result<Profile, CodecError> {
    let name = |position: &u32| entry("a name", names, *position).cloned();
    let all = |positions: &[u32]| positions.iter().map(name).collect::<Result<Vec<_>, _>>();
    let (pairs, rest) = profile.labels.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(CodecError::Missing("a label's value"));
    }
    let labels = pairs.iter().map(|[key, value]| Ok((name(key)?, name(value)?)));
    let labels = labels.collect::<Result<Vec<_>, CodecError>>()?;
    Ok(Profile::canonical(all(&profile.groups)?, labels, all(&profile.actions)?, profile.capacity))
}

fn entry<'a, T>(what: &'static str, table: &'a [T], position: u32) -> Result<&'a T, CodecError> {
    table.get(position as usize).ok_or(CodecError::BadValue { field: what, value: position.into() })
}

/// What is left of a column of numbers.
struct Column<'a, T> {
    what: &'static str,
    left: std::slice::Iter<'a, T>,
}

impl<'a, T: Copy> Column<'a, T> {
    fn of(what: &'static str, column: &'a [T]) -> Self {
        Self { what, left: column.iter() }
    }

    fn next(&mut self) -> Result<T, CodecError> {
        self.left.next().copied().ok_or(CodecError::Missing(self.what))
    }
}

/// What is left of texts that stand one after the other.
struct Texts<'a> {
    lengths: Column<'a, u32>,
    left: &'a str,
}

impl<'a> Texts<'a> {
    fn of(what: &'static str, texts: &'a str, lengths: &'a [u32]) -> Self {
        Self { lengths: Column::of(what, lengths), left: texts }
    }

    fn next(&mut self) -> Result<&'a str, CodecError> {
        let length = self.lengths.next()? as usize;
        let (text, left) = self
            .left
            .split_at_checked(length)
            .ok_or(CodecError::BadLength { field: self.lengths.what, length })?;
        self.left = left;
        Ok(text)
    }
}
