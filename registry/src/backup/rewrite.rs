//! From the records of one cluster to those of a new one. Pure.

use std::io::{BufRead, Write};

use prost::Message;
use rollcall_proto::storage::{
    ClusterRecord, DeviceRecord, NodeRecord, SnapshotRecord, snapshot_record::Kind,
};

use crate::{
    codec::CodecError,
    model::{
        ids::UnixMillis,
        snapshot::{RestoreError, next_record},
    },
};

/// What is new in a new cluster.
#[derive(Debug, Clone)]
pub(super) struct Anew {
    pub(super) cluster_id: [u8; 16],
    pub(super) token_key: [u8; 32],
    pub(super) epoch_base: u64,
    pub(super) next_node_id: u64,
    /// When it is made.
    pub(super) at: UnixMillis,
    /// Its only node.
    pub(super) founder: NodeRecord,
}

impl Anew {
    /// The records that take a record's place. Whatever is kept is kept as it is: what is not named here passes.
    fn records(&self, kind: Kind) -> Vec<Kind> {
        match kind {
            Kind::Cluster(cluster) => {
                let cluster = ClusterRecord {
                    cluster_id: self.cluster_id.to_vec().into(),
                    token_key: self.token_key.to_vec().into(),
                    epoch_base: self.epoch_base,
                    next_node_id: self.next_node_id,
                    ..cluster
                };
                vec![Kind::Cluster(cluster), Kind::Node(self.founder.clone())]
            }
            Kind::Node(_) => Vec::new(),
            Kind::AccessRules(rules) => vec![Kind::AccessRules(rules)],
            Kind::GroupPolicy(policy) => vec![Kind::GroupPolicy(policy)],
            Kind::Profile(profile) => vec![Kind::Profile(profile)],
            // The row keeps epoch, instance and attach number, so that an older attach is still refused.
            Kind::Device(device) => vec![Kind::Device(self.without_session(device))],
        }
    }

    /// A device whose session is dropped is away from now on: one without a time would expire at once.
    fn without_session(&self, device: DeviceRecord) -> DeviceRecord {
        let timed = device.assignment.is_none() && device.away_since_unix_ms == 0;
        let away_since_unix_ms = if timed { self.at.0 } else { device.away_since_unix_ms };
        DeviceRecord { node_id: 0, incarnation: 0, away_since_unix_ms, ..device }
    }

    /// Rewrites a body to its end.
    ///
    /// # Errors
    /// Those of the input and the output.
    pub(super) fn rewrite(
        &self,
        input: &mut impl BufRead,
        output: &mut impl Write,
    ) -> Result<(), RestoreError> {
        let (mut read, mut written, mut number) = (Vec::new(), Vec::new(), 0);
        while let Some(record) = next_record(input, &mut read, number)? {
            let kind = record.kind.ok_or(CodecError::UnknownKind("a record"));
            let kind = kind.map_err(|source| RestoreError::Record { record: number, source })?;
            for kind in self.records(kind) {
                written.clear();
                let record = SnapshotRecord { kind: Some(kind) };
                record.encode_length_delimited(&mut written).map_err(std::io::Error::other)?;
                output.write_all(&written)?;
            }
            number += 1;
        }
        Ok(())
    }
}
