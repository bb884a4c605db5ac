//! One walk over a backup's records: each is read, and counted.

use std::{collections::HashMap, io::BufRead};

use rollcall_proto::storage::{DeviceRecord, snapshot_record::Kind};

use crate::{
    codec::{
        CodecError, access_rules_from_proto, cluster_from_proto, group_policy_from_proto, node_from_proto,
    },
    model::{
        snapshot::{RestoreError, next_record},
        state::Cluster,
    },
};

/// What there is in a body.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Records of all kinds.
    pub(super) records: u64,
    /// Nodes among them.
    pub(super) nodes: u64,
    /// Devices among them.
    pub(super) devices: u64,
    /// Devices whose session counts.
    pub(super) sessions: u64,
    /// The cluster's record.
    pub(super) cluster: Option<Cluster>,
    /// The highest id of a node.
    pub(super) highest_node: u64,
    /// The highest epoch of a device.
    pub(super) highest_epoch: u64,
    profiles: u32,
    /// The incarnations of the nodes that are up.
    up: HashMap<u64, u64>,
}

impl Survey {
    /// Walks over a body, to its end.
    ///
    /// # Errors
    /// A record cannot be read, or does not fit those before it.
    pub(super) fn of(input: &mut impl BufRead) -> Result<Self, RestoreError> {
        let (mut survey, mut buffer) = (Self::default(), Vec::new());
        while let Some(record) = next_record(input, &mut buffer, survey.records)? {
            let kind = record.kind.ok_or(CodecError::UnknownKind("a record"));
            survey.add(kind.map_err(|error| survey.damaged(error))?)?;
            survey.records += 1;
        }
        match survey.cluster {
            Some(_) => Ok(survey),
            None => Err(survey.unfit("there is no cluster in it")),
        }
    }

    fn add(&mut self, kind: Kind) -> Result<(), RestoreError> {
        if (self.records == 0) != matches!(kind, Kind::Cluster(_)) {
            return Err(self.unfit("the cluster's record is the first one, and the only one of its kind"));
        }
        match kind {
            Kind::Cluster(record) => {
                self.cluster = cluster_from_proto(&record).map_err(|error| self.damaged(error))?;
            }
            Kind::Node(record) => {
                let node = node_from_proto(record).map_err(|error| self.damaged(error))?;
                self.nodes += 1;
                self.highest_node = self.highest_node.max(node.view.id.0);
                if node.view.up {
                    self.up.insert(node.view.id.0, node.view.incarnation.0);
                }
            }
            Kind::AccessRules(record) => {
                access_rules_from_proto(record).map_err(|error| self.damaged(error))?;
            }
            Kind::GroupPolicy(record) => {
                group_policy_from_proto(record).map_err(|error| self.damaged(error))?;
            }
            Kind::Profile(record) => {
                if record.number != self.profiles || record.profile.is_none() {
                    return Err(self.unfit("a profile has the wrong number, or is missing"));
                }
                self.profiles += 1;
            }
            Kind::Device(record) => self.add_device(&record)?,
        }
        Ok(())
    }

    fn add_device(&mut self, record: &DeviceRecord) -> Result<(), RestoreError> {
        if record.profile >= self.profiles {
            return Err(self.unfit("a device names a profile that has not come"));
        }
        self.devices += 1;
        self.highest_epoch = self.highest_epoch.max(record.epoch);
        if self.up.get(&record.node_id) == Some(&record.incarnation) {
            self.sessions += 1;
        }
        Ok(())
    }

    fn damaged(&self, source: CodecError) -> RestoreError {
        RestoreError::Record { record: self.records, source }
    }

    fn unfit(&self, problem: &'static str) -> RestoreError {
        RestoreError::Inconsistent { record: self.records, problem }
    }
}
