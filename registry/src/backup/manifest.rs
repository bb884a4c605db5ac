//! What a backup says of itself.

use std::time::SystemTime;

use prost::Message;
use rollcall_proto::storage::{self, BackupManifest};

use crate::{
    codec::CodecError,
    model::ids::{ClusterId, LogIndex},
};

/// The format of the file that this version writes.
pub(super) const FORMAT: u32 = 1;

/// What a backup says of itself: always complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    record: BackupManifest,
    cluster: ClusterId,
    sha256: [u8; 32],
}

impl Manifest {
    /// Checks a manifest as it was stored.
    ///
    /// # Errors
    /// A part is missing, or has the wrong length.
    pub fn from_proto(record: BackupManifest) -> Result<Self, CodecError> {
        let length = |field, bytes: &[u8]| CodecError::BadLength { field, length: bytes.len() };
        let cluster = ClusterId::from_bytes(&record.cluster_id);
        let cluster = cluster.ok_or_else(|| length("the cluster's id", &record.cluster_id))?;
        let sha256 = record.body_sha256.as_ref().try_into();
        let sha256 = sha256.map_err(|_| length("the SHA-256", &record.body_sha256))?;
        if record.last_log_id.is_none() {
            return Err(CodecError::Missing("the last log id"));
        }
        if record.membership.is_none() {
            return Err(CodecError::Missing("the membership"));
        }
        Ok(Self { record, cluster, sha256 })
    }

    /// As it is stored.
    pub fn to_proto(&self) -> &BackupManifest {
        &self.record
    }

    /// The reverse of [`prost::Message::encode_to_vec`] on [`Self::to_proto`].
    ///
    /// # Errors
    /// As [`Self::from_proto`]; or the bytes are no manifest.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Self::from_proto(BackupManifest::decode(bytes)?)
    }

    /// The format of the file.
    pub fn format(&self) -> u32 {
        self.record.format
    }

    /// The cluster that was saved.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The last log index in it.
    pub fn index(&self) -> LogIndex {
        LogIndex(self.record.last_log_id.as_ref().map_or(0, |at| at.index))
    }

    /// The term of that entry.
    pub fn term(&self) -> u64 {
        self.record.last_log_id.as_ref().map_or(0, |at| at.term)
    }

    /// The names of the nodes that voted, in the order of their ids.
    pub fn voters(&self) -> Vec<String> {
        self.members().filter(|(_, _, votes)| *votes).map(|(_, name, _)| name).collect()
    }

    /// The names of the nodes that did not, in the order of their ids.
    pub fn learners(&self) -> Vec<String> {
        self.members().filter(|(_, _, votes)| !*votes).map(|(_, name, _)| name).collect()
    }

    /// The members: id, name, and whether they vote.
    fn members(&self) -> impl Iterator<Item = (u64, String, bool)> {
        self.record.membership.iter().flat_map(members)
    }

    /// Known nodes.
    pub fn nodes(&self) -> u64 {
        self.record.nodes
    }

    /// Known devices.
    pub fn devices(&self) -> u64 {
        self.record.devices
    }

    /// Devices that were connected.
    pub fn sessions(&self) -> u64 {
        self.record.sessions
    }

    /// When it was saved, by the clock of the node that saved it. `None`: not said.
    pub fn created_at(&self) -> Option<SystemTime> {
        self.record.created_at.and_then(|at| at.try_into().ok())
    }

    /// The version of Rollcall that saved it.
    pub fn version(&self) -> &str {
        &self.record.version
    }

    /// The node that saved it.
    pub fn saved_by(&self) -> &str {
        &self.record.saved_by
    }

    /// How long the body is, in bytes.
    pub fn body_bytes(&self) -> u64 {
        self.record.body_bytes
    }

    /// The SHA-256 of the body.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }
}

/// The members of a membership in the order of their ids: id, name, and whether they vote.
pub(super) fn members(membership: &storage::Membership) -> Vec<(u64, String, bool)> {
    let votes = |id| membership.configs.iter().any(|voters| voters.ids.contains(&id));
    let mut members: Vec<_> =
        membership.members.iter().map(|(id, member)| (*id, member.name.clone(), votes(*id))).collect();
    members.sort_unstable();
    members
}
