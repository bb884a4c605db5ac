//! A log in a folder of its own, and files whose sync is counted, held back or failing.

use std::{
    fs::File,
    io,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use tempfile::TempDir;

use crate::storage::{
    DataDir, LogBackend, SledLog, StorageError, StoredEntry, StoredLogId,
    sled_log::{open::open, sync_file::SyncFile},
};

pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Folder {
    pub(super) folder: TempDir,
}

impl Folder {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(super) fn dir(&self) -> DataDir {
        DataDir::open(self.folder.path(), "n1").unwrap()
    }

    pub(super) fn open(&self) -> Result<SledLog, StorageError> {
        SledLog::open(&self.dir())
    }

    pub(super) fn open_with(&self, sync: &ControlledSync) -> SledLog {
        let sync = sync.clone();
        open(&self.dir(), move |file| Box::new(Controlled { file, sync })).unwrap()
    }

    /// Gives the tree to a test that damages it.
    pub(super) fn with_tree(&self, damage: impl FnOnce(&sled::Tree)) {
        let dir = self.dir();
        let db = sled::open(dir.log_path()).unwrap();
        damage(&db.open_tree(crate::storage::keyspaces::TREE).unwrap());
        db.flush().unwrap();
    }
}

pub(super) fn id(term: u64, index: u64) -> StoredLogId {
    StoredLogId { term, leader: 1, index }
}

pub(super) fn entry_of(term: u64, index: u64, bytes: usize) -> StoredEntry {
    let content: Vec<u8> = (0..bytes).map(|at| (at as u64 * 31 + index * 7 + term) as u8).collect();
    StoredEntry { log_id: id(term, index), bytes: content.into() }
}

pub(super) fn entries(term: u64, indexes: std::ops::Range<u64>) -> Vec<StoredEntry> {
    indexes.map(|index| entry_of(term, index, 100)).collect()
}

/// Appends and waits until it is acknowledged.
pub(super) async fn append(log: &SledLog, entries: Vec<StoredEntry>) -> Result<(), StorageError> {
    let (done, acknowledged) = tokio::sync::oneshot::channel();
    log.append(entries, Box::new(move |result| drop(done.send(result)))).await?;
    acknowledged.await.unwrap()
}

pub(super) async fn all(log: &SledLog) -> Vec<StoredEntry> {
    log.read(0..u64::MAX, usize::MAX).await.unwrap()
}

/// Decides what a sync does.
#[derive(Clone)]
pub(super) struct ControlledSync {
    inner: Arc<Inner>,
}

struct Inner {
    syncs: AtomicU64,
    gate: Mutex<Gate>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    Shut,
    Fails(i32),
}

impl ControlledSync {
    pub(super) fn new() -> Self {
        let inner = Inner { syncs: AtomicU64::new(0), gate: Mutex::new(Gate::Open), changed: Condvar::new() };
        Self { inner: Arc::new(inner) }
    }

    pub(super) fn set(&self, gate: Gate) {
        *self.inner.gate.lock().unwrap() = gate;
        self.inner.changed.notify_all();
    }

    /// Syncs that succeeded.
    pub(super) fn syncs(&self) -> u64 {
        self.inner.syncs.load(Ordering::SeqCst)
    }
}

struct Controlled {
    file: File,
    sync: ControlledSync,
}

impl SyncFile for Controlled {
    fn sync_data(&mut self) -> io::Result<()> {
        let gate = self.sync.inner.gate.lock().unwrap();
        let gate = self.sync.inner.changed.wait_while(gate, |gate| *gate == Gate::Shut).unwrap();
        if let Gate::Fails(errno) = *gate {
            return Err(io::Error::from_raw_os_error(errno));
        }
        self.file.sync_data()?;
        self.sync.inner.syncs.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Collects what completions say, in the order in which they say it.
pub(super) struct Completions<T> {
    sender: mpsc::Sender<T>,
    receiver: mpsc::Receiver<T>,
}

impl<T: Send + 'static> Completions<T> {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel();
        Self { sender, receiver }
    }

    pub(super) fn says(
        &self,
        word: impl FnOnce(Result<(), StorageError>) -> T + Send + 'static,
    ) -> crate::storage::Completion {
        let sender = self.sender.clone();
        Box::new(move |result| sender.send(word(result)).unwrap())
    }

    pub(super) fn next(&self) -> T {
        self.receiver.recv_timeout(PATIENCE).expect("a completion is called")
    }

    pub(super) fn none_yet(&self) -> bool {
        self.receiver.try_recv().is_err()
    }
}
