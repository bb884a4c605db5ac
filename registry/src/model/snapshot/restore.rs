//! Reading a snapshot's body into a new state.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read},
    sync::Arc,
};

use prost::Message;
use rollcall_proto::storage::{self as proto, SnapshotRecord, snapshot_record::Kind};
use thiserror::Error;

use crate::{
    codec::{
        CodecError, DeviceRow, access_rules_from_proto, cluster_from_proto, device_from_proto,
        group_policy_from_proto, node_from_proto, profile_from_proto,
    },
    limits::SNAPSHOT_RECORD_BYTES,
    model::{
        ids::{DeviceKey, Incarnation, NodeId, UnixMillis},
        profile::Profile,
        state::State,
    },
    routes::{life::Life, writer::Content},
};

/// Why a snapshot cannot be read. Nothing is kept of it.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The input failed, or ended within a record.
    #[error("cannot read the snapshot: {0}")]
    Io(#[from] io::Error),
    /// A record is damaged, or a newer version wrote it.
    #[error("record {record} of the snapshot: {source}")]
    Record {
        /// Which, from 0.
        record: u64,
        /// What is wrong with it.
        source: CodecError,
    },
    /// A record is longer than any that is written.
    #[error("record {record} of the snapshot claims {length} bytes")]
    TooLong {
        /// Which, from 0.
        record: u64,
        /// The length it claims.
        length: u64,
    },
    /// The records do not fit each other.
    #[error("record {record} of the snapshot: {problem}")]
    Inconsistent {
        /// Which, from 0.
        record: u64,
        /// What does not fit.
        problem: &'static str,
    },
}

impl State {
    /// The state that a snapshot's body holds; reads `input` to its end.
    ///
    /// Its applied index is 0: call [`State::advance`] with the snapshot's, then [`State::install`] it.
    ///
    /// # Errors
    /// See [`RestoreError`]. A body cut between two records is not noticed here: compare the number of records, or a
    /// checksum, before.
    pub fn restore(input: &mut impl Read) -> Result<State, RestoreError> {
        let mut input = BufReader::new(input);
        let mut restorer = Restorer::default();
        let mut buffer = Vec::new();
        while let Some(record) = next(&mut input, &mut buffer, restorer.record)? {
            restorer.add(record)?;
            restorer.record += 1;
        }
        restorer.finish()
    }
}

/// The next record; `None` at the end of the input.
pub(crate) fn next(
    input: &mut impl BufRead,
    buffer: &mut Vec<u8>,
    record: u64,
) -> Result<Option<SnapshotRecord>, RestoreError> {
    if input.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let length = length(input)?;
    if length > SNAPSHOT_RECORD_BYTES as u64 {
        return Err(RestoreError::TooLong { record, length });
    }
    buffer.resize(length as usize, 0);
    input.read_exact(buffer)?;
    let read = SnapshotRecord::decode(buffer.as_slice());
    read.map(Some).map_err(|error| RestoreError::Record { record, source: error.into() })
}

/// A varint, at most ten bytes long. One with more bits than a length has is too long in any case.
fn length(input: &mut impl Read) -> io::Result<u64> {
    let mut length = 0_u64;
    for position in 0..10 {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        length |= u64::from(byte[0] & 0x7f) << (7 * position).min(63);
        if byte[0] & 0x80 == 0 {
            return Ok(length);
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "a record's length has no end"))
}

/// A state in the making.
#[derive(Default)]
struct Restorer {
    state: State,
    record: u64,
    profiles: Vec<Arc<Profile>>,
    lives: HashMap<(NodeId, Incarnation), Arc<Life>>,
}

impl Restorer {
    fn add(&mut self, record: SnapshotRecord) -> Result<(), RestoreError> {
        let kind = record.kind.ok_or(CodecError::UnknownKind("a record")).map_err(|e| self.damaged(e))?;
        let is_first = self.record == 0;
        if is_first != matches!(kind, Kind::Cluster(_)) {
            return Err(self.unfit("the cluster's record is the first one, and the only one of its kind"));
        }
        match kind {
            Kind::Cluster(record) => {
                self.state.cluster = cluster_from_proto(&record).map_err(|e| self.damaged(e))?;
                Ok(())
            }
            Kind::AccessRules(record) => self.add_access_rules(record),
            Kind::GroupPolicy(record) => self.add_group_policy(record),
            Kind::Node(record) => self.add_node(record),
            Kind::Profile(record) => self.add_profile(record),
            Kind::Device(record) => self.add_device(record),
        }
    }

    fn add_access_rules(&mut self, record: proto::AccessRulesRecord) -> Result<(), RestoreError> {
        let rules = access_rules_from_proto(record).map_err(|e| self.damaged(e))?;
        match &mut self.state.cluster {
            None => Err(self.unfit("who may do what comes before the cluster is founded")),
            Some(cluster) if cluster.access_rules.is_some() => Err(self.unfit("who may do what comes twice")),
            Some(cluster) => {
                cluster.access_rules = Some(Arc::new(rules));
                Ok(())
            }
        }
    }

    fn add_group_policy(&mut self, record: proto::GroupPolicyRecord) -> Result<(), RestoreError> {
        let said = group_policy_from_proto(record).map_err(|e| self.damaged(e))?;
        let Some(cluster) = &mut self.state.cluster else {
            return Err(self.unfit("something is said of a group before the cluster is founded"));
        };
        if cluster.group_policies.get(&said.namespace, &said.group).is_some() {
            return Err(self.unfit("a group's policy comes twice"));
        }
        Arc::make_mut(&mut cluster.group_policies).set(&said.namespace, &said.group, said.policy);
        Ok(())
    }

    fn add_node(&mut self, record: proto::NodeRecord) -> Result<(), RestoreError> {
        let mut node = node_from_proto(record).map_err(|e| self.damaged(e))?;
        let (id, incarnation, up) = (node.view.id, node.view.incarnation, node.view.up);
        if !self.profiles.is_empty() {
            return Err(self.unfit("a node after the devices"));
        }
        let is_taken = |other: &crate::model::state::Node| other.view.name == node.view.name;
        if self.state.nodes.contains_key(&id) || self.state.nodes.values().any(is_taken) {
            return Err(self.unfit("a node's id or name comes twice"));
        }
        if incarnation == Incarnation(0) && up {
            return Err(self.unfit("a node is up that never came up"));
        }
        if incarnation != Incarnation(0) {
            let begin = if up { Life::begun } else { Life::over };
            let life = Arc::new(begin(id, incarnation));
            self.lives.insert((id, incarnation), Arc::clone(&life));
            node.life = Some(life);
        }
        self.state.nodes.insert(id, node);
        Ok(())
    }

    fn add_profile(&mut self, record: proto::ProfileRecord) -> Result<(), RestoreError> {
        if record.number as usize != self.profiles.len() {
            return Err(self.unfit("the profiles' numbers do not rise by one"));
        }
        let profile = record.profile.ok_or(CodecError::Missing("a profile")).map_err(|e| self.damaged(e))?;
        self.profiles.push(Arc::new(profile_from_proto(profile)));
        Ok(())
    }

    fn add_device(&mut self, record: proto::DeviceRecord) -> Result<(), RestoreError> {
        let row = device_from_proto(record);
        let Some(profile) = self.profiles.get(row.profile as usize).cloned() else {
            return Err(self.unfit("a device names a profile that has not come"));
        };
        let holder = row.holder.map(|(node, incarnation)| self.life(node, incarnation));
        if let Some(life) = holder.as_ref().filter(|_| row.away_since != UnixMillis(0)) {
            life.was_over_at(row.away_since);
        }
        let DeviceRow { namespace, device, standing, epoch, instance, attach_number, .. } = row;
        let key = DeviceKey { namespace, device };
        let place = self.state.writer.find(&key);
        if place.row().is_some() {
            return Err(self.unfit("a device comes twice"));
        }
        let content = Content { epoch, instance, attach_number, profile, standing, holder };
        self.state.writer.put(place, &key, content);
        Ok(())
    }

    /// The life that a row names; one that its node does not lead any more is over.
    fn life(&mut self, node: NodeId, incarnation: Incarnation) -> Arc<Life> {
        let life = self.lives.entry((node, incarnation));
        Arc::clone(life.or_insert_with(|| Arc::new(Life::over(node, incarnation))))
    }

    fn finish(self) -> Result<State, RestoreError> {
        if self.record == 0 {
            return Err(self.unfit("there is no record"));
        }
        self.state.publish_roster();
        Ok(self.state)
    }

    fn damaged(&self, source: CodecError) -> RestoreError {
        RestoreError::Record { record: self.record, source }
    }

    fn unfit(&self, problem: &'static str) -> RestoreError {
        RestoreError::Inconsistent { record: self.record, problem }
    }
}
