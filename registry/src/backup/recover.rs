//! Recovery from a lost quorum: a new cluster from what one survivor has.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Write},
    path::Path,
};

use prost::Message;
use rollcall_proto::storage::{self, NodeIdentity};

use super::{BackupError, NewCluster, manifest::members, new_cluster::Origin, survey::Survey};
use crate::{
    codec::command_from_proto,
    limits::LOG_READ_BYTES,
    model::{
        ids::{ClusterId, LogIndex, NodeId},
        state::State,
    },
    raft,
    storage::{
        DataDir, LogBackend, SledLog, SnapshotStore, StorageError, StoredEntry, StoredLogId, identity,
        incoming,
    },
};

/// What a recovery goes by, and what it may lose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The cluster that lost its quorum.
    pub cluster: ClusterId,
    /// The survivor's name.
    pub name: String,
    /// The survivor's id.
    pub node: NodeId,
    /// The last entry of its log: whatever was acknowledged later, without it, is lost.
    pub last_log: LogIndex,
    /// The term of that entry.
    pub last_term: u64,
    /// The last entry that it knew to be committed, as far as that was noted. Later ones of its log are kept all the same,
    /// because they may have been acknowledged.
    pub committed: Option<LogIndex>,
    /// The last entry in its newest snapshot: up to there the state was applied on disk.
    pub snapshot: Option<LogIndex>,
    /// All voters, in the order of their ids.
    pub voters: Vec<String>,
    /// The voters that are given up: all but the survivor.
    pub lost_voters: Vec<String>,
    /// The devices that the survivor knows.
    pub devices: u64,
    /// The sessions that it knows, all of which end.
    pub sessions: u64,
}

/// A data folder of a cluster that lost its quorum, locked.
#[derive(Debug)]
pub struct Survivor {
    dir: DataDir,
    state: State,
    last: StoredLogId,
    loss: Loss,
}

impl Survivor {
    /// Opens the folder of a node that does not run, and reads all that it has: its snapshot and every entry of its log.
    /// Changes nothing. Blocks, on a thread of a Tokio runtime.
    ///
    /// # Errors
    /// It is in use, damaged, or none of a member.
    pub fn examine(folder: &Path) -> Result<Self, BackupError> {
        let none = || BackupError::NoMember { folder: folder.to_owned() };
        if !folder.is_dir() {
            return Err(none());
        }
        // Its name is in the folder, and has to be known for what there may be to say about it.
        let identity = identity::load(&DataDir::open(folder, "of this folder")?)?.ok_or_else(none)?;
        let dir = DataDir::open(folder, &identity.name)?;
        let replica = Replica::read(&dir)?;
        let cluster = replica.state.routes().cluster_id().ok_or_else(none)?;
        let loss = loss(&identity, cluster, &replica);
        Ok(Self { dir, state: replica.state, last: replica.last, loss })
    }

    /// What may be lost.
    pub fn loss(&self) -> &Loss {
        &self.loss
    }

    /// Makes the folder one of a new cluster, with the devices and without the sessions and the other nodes; what it held
    /// is moved aside. Blocks.
    ///
    /// # Errors
    /// The file system's. The folder is then as it was.
    pub fn recover(self) -> Result<NewCluster, BackupError> {
        let folder = incoming::begin(&self.dir, &self.loss.name)?;
        let spool = folder.path().join("records");
        self.spool(&spool).map_err(StorageError::io("write", &spool))?;
        let open = || File::open(&spool).map(BufReader::new).map_err(StorageError::io("open", &spool));
        let survey = Survey::of(&mut open()?)
            .map_err(|error| StorageError::io("read", &spool)(io::Error::other(error)))?;
        let addresses = self.state.routes().node(self.loss.node).map(|node| node.addresses.clone());
        let origin = Origin {
            survey: &survey,
            last_log_id: self.last,
            name: &self.loss.name,
            addresses: addresses.unwrap_or_default(),
        };
        let mut new = origin.found(&folder, &mut open()?)?;
        fs::remove_file(&spool).map_err(StorageError::io("remove", &spool))?;
        incoming::publish(&self.dir, folder, new.cluster)?;
        new.archive = incoming::archive(&self.dir, new.cluster);
        Ok(new)
    }

    fn spool(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        self.state.snapshot().write(&mut file)?;
        file.flush()
    }
}

fn loss(identity: &NodeIdentity, cluster: ClusterId, replica: &Replica) -> Loss {
    let members = replica.membership.as_ref().map(members).unwrap_or_default();
    let voters = members.into_iter().filter(|(_, _, votes)| *votes);
    let voters: Vec<String> = voters.map(|(_, name, _)| name).collect();
    let counts = replica.state.routes().counts();
    Loss {
        cluster,
        name: identity.name.clone(),
        node: NodeId(identity.node_id),
        last_log: LogIndex(replica.last.index),
        last_term: replica.last.term,
        // A snapshot holds nothing that was not committed.
        committed: replica.committed.max(replica.snapshot),
        snapshot: replica.snapshot,
        lost_voters: voters.iter().filter(|name| **name != identity.name).cloned().collect(),
        voters,
        devices: counts.devices,
        sessions: counts.sessions,
    }
}

/// All that a folder has of the replicated state.
struct Replica {
    state: State,
    last: StoredLogId,
    committed: Option<LogIndex>,
    snapshot: Option<LogIndex>,
    membership: Option<storage::Membership>,
}

impl Replica {
    fn read(dir: &DataDir) -> Result<Self, BackupError> {
        let mut replica = Self::of_snapshot(dir)?;
        let log = SledLog::open(dir)?;
        let read = futures::executor::block_on(async {
            let read = replica.replay(dir, &log).await;
            log.close().await?;
            read
        });
        drop(log);
        SledLog::wait_released(dir);
        read.map(|()| replica)
    }

    fn of_snapshot(dir: &DataDir) -> Result<Self, BackupError> {
        let mut replica = Self {
            state: State::new(),
            last: StoredLogId::default(),
            committed: None,
            snapshot: None,
            membership: None,
        };
        let Some(file) = SnapshotStore::open(dir)?.newest() else { return Ok(replica) };
        let read = || -> io::Result<_> {
            let (header, mut records) = raft::snapshot::open_records(&file)?;
            let state = State::restore(&mut records).map_err(io::Error::other)?;
            io::copy(&mut records, &mut io::sink())?;
            Ok((header, state))
        };
        let (header, state) = read().map_err(StorageError::io("read", &file.path()))?;
        replica.state = state;
        replica.last = file.at();
        replica.snapshot = Some(LogIndex(file.at().index));
        replica.membership = header.membership;
        replica.state.advance(LogIndex(file.at().index));
        Ok(replica)
    }

    /// Applies every entry of the log, committed or not: any of them may have been acknowledged.
    async fn replay(&mut self, dir: &DataDir, log: &SledLog) -> Result<(), BackupError> {
        let fail = |problem| BackupError::Log { folder: dir.path().to_owned(), problem };
        let state = log.state();
        self.committed = log.committed().map(|at| LogIndex(at.index));
        let mut next = self.snapshot.map_or(0, |at| at.0 + 1);
        if state.first_index() > next {
            return Err(fail(format!(
                "begins at index {}, its snapshot ends before {next}",
                state.first_index()
            )));
        }
        while next < state.next_index() {
            let entries = log.read(next..state.next_index(), LOG_READ_BYTES).await?;
            for entry in &entries {
                self.apply(entry)
                    .map_err(|problem| fail(format!("cannot be applied at index {next}: {problem}")))?;
                next = entry.log_id.index + 1;
            }
            if entries.is_empty() {
                return Err(fail(format!("ends before index {next}")));
            }
        }
        Ok(())
    }

    fn apply(&mut self, stored: &StoredEntry) -> Result<(), String> {
        let index = LogIndex(stored.log_id.index);
        let entry = storage::Entry::decode(stored.bytes.clone()).map_err(|error| error.to_string())?;
        match entry.payload {
            Some(storage::entry::Payload::Command(command)) => {
                let command = command_from_proto(command).map_err(|error| error.to_string())?;
                self.state.apply(index, &command);
            }
            Some(storage::entry::Payload::Membership(membership)) => {
                self.membership = Some(membership);
                self.state.advance(index);
            }
            None => self.state.advance(index),
        }
        self.last = stored.log_id;
        Ok(())
    }
}
