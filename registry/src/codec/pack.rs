//! Batches as they are written: column by column, each name and each profile once. Reading them is `unpack`'s.

use hashbrown::HashMap;
use rollcall_proto::storage as proto;

use crate::model::{
    command::{Batch, ChangeKind, OpenSession, SessionChange},
    profile::Profile,
};

/// A batch as it is written.
pub(super) fn packed_batch_to_proto(batch: &Batch) -> proto::PackedBatch {
    let mut packer = Packer::default();
    let columns = &mut packer.columns;
    columns.kinds.reserve(batch.changes.len());
    columns.namespaces.reserve(batch.changes.len());
    columns.device_id_bytes.reserve(batch.changes.len());
    batch.changes.iter().for_each(|change| packer.change(change));
    proto::PackedBatch {
        node_id: batch.node.0,
        incarnation: batch.incarnation.0,
        number: batch.number.0,
        at_unix_ms: batch.at.0,
        ..packer.columns
    }
}

/// The columns so far, and what is in the dictionaries already.
#[derive(Default)]
struct Packer<'a> {
    columns: proto::PackedBatch,
    names: HashMap<&'a str, u32>,
    profiles: HashMap<&'a Profile, u32>,
}

impl<'a> Packer<'a> {
    fn change(&mut self, change: &'a SessionChange) {
        let namespace = self.name(&change.device.namespace);
        self.columns.namespaces.push(namespace);
        self.columns.device_ids.push_str(&change.device.device);
        self.columns.device_id_bytes.push(length(&change.device.device));
        let kind = match &change.kind {
            ChangeKind::Open(open) => self.open(open),
            ChangeKind::Close(epoch) => {
                self.columns.epochs.push(epoch.0);
                proto::PackedChangeKind::Close
            }
            ChangeKind::Update(epoch, profile) => {
                self.columns.epochs.push(epoch.0);
                self.profile(profile);
                proto::PackedChangeKind::Update
            }
        };
        self.columns.kinds.push(kind.into());
    }

    fn open(&mut self, open: &'a OpenSession) -> proto::PackedChangeKind {
        self.columns.instances.push(open.instance.0);
        self.columns.attach_numbers.push(open.attach_number.0);
        self.columns.remote_addrs.push_str(&open.remote_addr);
        self.columns.remote_addr_bytes.push(length(&open.remote_addr));
        self.columns.only_if_epochs.push(open.only_if.map_or(0, |epoch| epoch.0));
        self.profile(&open.profile);
        proto::PackedChangeKind::Open
    }

    fn profile(&mut self, profile: &'a Profile) {
        let known = self.profiles.get(profile).copied();
        let position = known.unwrap_or_else(|| {
            let packed = self.packed(profile);
            let position = self.columns.profiles.len() as u32;
            self.columns.profiles.push(packed);
            self.profiles.insert(profile, position);
            position
        });
        self.columns.profile_positions.push(position);
    }

    fn packed(&mut self, profile: &'a Profile) -> proto::PackedProfile {
        let labels = profile.labels.iter().flat_map(|(key, value)| [key, value]);
        proto::PackedProfile {
            groups: profile.groups.iter().map(|name| self.name(name)).collect(),
            labels: labels.map(|name| self.name(name)).collect(),
            actions: profile.actions.iter().map(|name| self.name(name)).collect(),
            capacity: profile.capacity,
        }
    }

    fn name(&mut self, name: &'a str) -> u32 {
        let next = self.columns.names.len() as u32;
        *self.names.entry(name).or_insert_with(|| {
            self.columns.names.push(name.to_owned());
            next
        })
    }
}

/// Of a name; those are far below 4 GiB, as a batch is.
fn length(name: &str) -> u32 {
    name.len() as u32
}
