//! The data folder of a new cluster of one voter, made from the records of another cluster.

use std::{
    io::{self, BufRead},
    path::PathBuf,
};

use rollcall_proto::storage::{self, NodeIdentity, NodeRecord, SnapshotHeader};

use super::{BackupError, Flaw, rewrite::Anew, survey::Survey};
use crate::{
    codec,
    limits::EPOCH_LEAP,
    model::{
        command::Addresses,
        ids::{ClusterId, Epoch, LogIndex, NodeId, StorageId},
        state::State,
    },
    raft,
    storage::{
        DataDir, LogBackend, SledLog, SnapshotFile, SnapshotStore, StorageError, StoredLogId, StoredVote,
        identity,
    },
};

/// A new cluster, in a folder of its only node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCluster {
    /// Its id.
    pub cluster: ClusterId,
    /// The name of its only node.
    pub name: String,
    /// The id of its only node: above all that its predecessor gave.
    pub node: NodeId,
    /// The index that its log goes on from.
    pub index: LogIndex,
    /// What its epochs begin at: above all that its predecessor gave.
    pub epoch_base: Epoch,
    /// The devices that it knows.
    pub devices: u64,
    /// Where what the folder held before was put, if it held anything.
    pub archive: Option<PathBuf>,
}

/// What a new cluster is made from, besides its records.
#[derive(Debug)]
pub(super) struct Origin<'a> {
    /// What its records are.
    pub(super) survey: &'a Survey,
    /// The last log entry in them.
    pub(super) last_log_id: StoredLogId,
    /// The name of the new cluster's only node.
    pub(super) name: &'a str,
    /// Where it is reached, until it says so itself.
    pub(super) addresses: Addresses,
}

impl Origin<'_> {
    /// Fills an empty folder. Blocks.
    ///
    /// # Errors
    /// The records, or the file system. The folder then means nothing.
    pub(super) fn found(&self, folder: &DataDir, body: &mut impl BufRead) -> Result<NewCluster, BackupError> {
        let new = self.plan()?;
        let storage = StorageId(rand::random());
        // Above every term of the old log, so that no entry of it is taken for one of the new.
        let term = self.last_log_id.term.saturating_add(1);
        let at = StoredLogId { term, leader: new.node.0, index: self.last_log_id.index };
        write_log(folder, at)?;
        let snapshots = SnapshotStore::open(folder)?;
        let header = header(at, &new, &self.addresses);
        let anew = Anew {
            at: crate::clock::unix_now(),
            cluster_id: new.cluster.to_bytes(),
            token_key: rand::random(),
            epoch_base: new.epoch_base.0,
            next_node_id: new.node.0 + 1,
            founder: NodeRecord {
                node_id: new.node.0,
                name: new.name.clone(),
                storage_id: storage.to_bytes().to_vec().into(),
                addresses: Some(codec::addresses_to_proto(&self.addresses)),
                ..NodeRecord::default()
            },
        };
        let written = raft::snapshot::write_records(&snapshots, &header, at, |writer| {
            anew.rewrite(body, writer).map_err(io::Error::other)
        });
        let written = written.map_err(StorageError::io("write the snapshot of", folder.path()))?;
        check(&written, &new).map_err(StorageError::io("read back the snapshot of", folder.path()))?;
        identity::save(
            folder,
            &NodeIdentity {
                format: identity::FORMAT,
                name: new.name.clone(),
                storage_id: storage.to_bytes().to_vec().into(),
                cluster_id: new.cluster.to_bytes().to_vec().into(),
                node_id: new.node.0,
                ..NodeIdentity::default()
            },
        )?;
        Ok(new)
    }

    /// The new cluster's ids, each above all that came before.
    fn plan(&self) -> Result<NewCluster, BackupError> {
        let survey = self.survey;
        let former = survey.cluster.as_ref();
        let next = former.map_or(0, |cluster| cluster.next_node_id);
        let node = next.max(survey.highest_node.saturating_add(1)).max(1);
        // What the old cluster gave in the entry after the last one at the latest.
        let base = former.map_or(0, |cluster| cluster.epoch_base);
        let given = Epoch::new(base, LogIndex(self.last_log_id.index.saturating_add(1)), 0);
        let highest = given.0.max(survey.highest_epoch);
        Ok(NewCluster {
            cluster: ClusterId(rand::random()),
            name: self.name.to_owned(),
            node: NodeId(node.checked_add(1).map(|_| node).ok_or(BackupError::Exhausted("node ids"))?),
            index: LogIndex(self.last_log_id.index),
            epoch_base: Epoch(highest.checked_add(EPOCH_LEAP).ok_or(BackupError::Exhausted("epochs"))?),
            devices: survey.devices,
            archive: None,
        })
    }
}

/// A log that ends at the snapshot, and a vote that lets its only voter campaign in the next term.
fn write_log(folder: &DataDir, at: StoredLogId) -> Result<(), StorageError> {
    let log = SledLog::open(folder)?;
    futures::executor::block_on(async {
        log.save_vote(StoredVote { term: at.term, node: at.leader, committed: false }).await?;
        log.purge(at).await?;
        log.close().await
    })?;
    drop(log);
    SledLog::wait_released(folder);
    Ok(())
}

fn header(at: StoredLogId, new: &NewCluster, addresses: &Addresses) -> SnapshotHeader {
    let log_id = storage::LogId { term: at.term, leader: at.leader, index: at.index };
    let member = storage::Member { name: new.name.clone(), peer_addr: addresses.peer.clone() };
    SnapshotHeader {
        format: raft::snapshot::FORMAT,
        last_log_id: Some(log_id),
        membership_log_id: Some(log_id),
        membership: Some(storage::Membership {
            configs: vec![storage::VoterSet { ids: vec![new.node.0] }],
            members: [(new.node.0, member)].into(),
        }),
        records: 0,
    }
}

/// Reads back what was written, as the node will.
fn check(written: &SnapshotFile, new: &NewCluster) -> io::Result<()> {
    let (_, mut records) = raft::snapshot::open_records(written)?;
    let state = State::restore(&mut records).map_err(io::Error::other)?;
    io::copy(&mut records, &mut io::sink())?;
    let (routes, counts) = (state.routes(), state.routes().counts());
    let is_right = routes.cluster_id() == Some(new.cluster)
        && routes.node(new.node).is_some()
        && (counts.devices, counts.sessions) == (new.devices, 0);
    if is_right { Ok(()) } else { Err(io::Error::other(Flaw::Counts("devices"))) }
}
