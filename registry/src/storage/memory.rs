//! A log in memory, for simulation: on a crash it loses what was not synced.

use std::{collections::VecDeque, fmt, ops::Range, sync::Arc};

use parking_lot::Mutex;

use super::{
    Completion, LogBackend, LogState, StorageError, StoredEntry, StoredLogId, StoredVote,
    sled_log::fault::Fault,
};

/// When a [`MemoryDisk`] syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// With each write.
    EachWrite,
    /// Only when [`MemoryDisk::sync`] is called.
    WhenTold,
    /// As [`Self::WhenTold`], but acknowledges each write at once: a fault, to see that it is noticed.
    Claimed,
}

/// The disk under a [`MemoryLog`]: outlives it, as a disk outlives a process. Unbounded.
#[derive(Clone)]
pub struct MemoryDisk {
    inner: Arc<Mutex<Disk>>,
}

struct Disk {
    policy: SyncPolicy,
    durable: Image,
    unsynced: VecDeque<Unsynced>,
    /// Rises with each crash; handles of an earlier life are dead.
    life: u64,
}

struct Unsynced {
    write: Write,
    done: Option<Completion>,
}

#[derive(Debug, Clone, Default)]
struct Image {
    state: LogState,
    entries: VecDeque<StoredEntry>,
    vote: Option<StoredVote>,
    committed: Option<StoredLogId>,
}

#[derive(Debug, Clone)]
enum Write {
    Append(Vec<StoredEntry>),
    Vote(StoredVote),
    Committed(Option<StoredLogId>),
    TruncateAfter(Option<StoredLogId>),
    Purge(StoredLogId),
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new(policy: SyncPolicy) -> Self {
        let disk = Disk { policy, durable: Image::default(), unsynced: VecDeque::new(), life: 0 };
        Self { inner: Arc::new(Mutex::new(disk)) }
    }

    /// Makes all writes so far durable and completes them, in order.
    pub fn sync(&self) {
        loop {
            let next = {
                let mut disk = self.inner.lock();
                let next = disk.unsynced.pop_front();
                if let Some(unsynced) = &next {
                    disk.durable.apply(&unsynced.write);
                }
                next
            };
            // Outside the lock: a completion may write again.
            match next {
                Some(Unsynced { done: Some(done), .. }) => done(Ok(())),
                Some(Unsynced { done: None, .. }) => {}
                None => return,
            }
        }
    }

    /// How many writes a crash would lose.
    pub fn unsynced(&self) -> usize {
        self.inner.lock().unsynced.len()
    }

    /// Loses all unsynced writes, whose completions are never called. Logs opened before are dead; open a new one.
    pub fn crash(&self) {
        let mut disk = self.inner.lock();
        disk.unsynced.clear();
        disk.life += 1;
    }
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDisk").field("unsynced", &self.unsynced()).finish_non_exhaustive()
    }
}

impl Image {
    fn apply(&mut self, write: &Write) {
        match write {
            Write::Append(entries) => self.append(entries),
            Write::Vote(vote) => self.vote = Some(*vote),
            Write::Committed(committed) => self.committed = *committed,
            Write::TruncateAfter(last) => self.truncate_after(*last),
            Write::Purge(upto) => self.purge(*upto),
        }
    }

    fn append(&mut self, entries: &[StoredEntry]) {
        self.entries.extend(entries.iter().cloned());
        self.state.last = self.last();
    }

    fn truncate_after(&mut self, last: Option<StoredLogId>) {
        let next = last.map_or(0, |last| last.index + 1);
        while self.entries.back().is_some_and(|entry| entry.log_id.index >= next) {
            self.entries.pop_back();
        }
        self.state.last = self.last();
    }

    fn purge(&mut self, upto: StoredLogId) {
        if upto.index < self.state.first_index() {
            return;
        }
        while self.entries.front().is_some_and(|entry| entry.log_id.index <= upto.index) {
            self.entries.pop_front();
        }
        self.state.purged = Some(upto);
        self.state.last = self.last();
    }

    fn last(&self) -> Option<StoredLogId> {
        self.entries.back().map(|entry| entry.log_id).or(self.state.purged)
    }

    fn expect_next(&self, entries: &[StoredEntry]) -> Result<(), StorageError> {
        let Some(first) = entries.first() else { return Ok(()) };
        // An empty log may begin anywhere.
        let next = self.state.last.map_or(first.log_id.index, |last| last.index + 1);
        for (entry, expected) in entries.iter().zip(next..) {
            if entry.log_id.index != expected {
                return Err(StorageError::OutOfOrder { expected, found: entry.log_id.index });
            }
        }
        Ok(())
    }

    fn read(&self, range: Range<u64>, max_bytes: usize) -> Vec<StoredEntry> {
        let mut bytes = 0;
        self.entries
            .iter()
            .filter(|entry| range.contains(&entry.log_id.index))
            .take_while(|entry| {
                let first = bytes == 0;
                bytes += entry.bytes.len().max(1);
                first || bytes <= max_bytes
            })
            .cloned()
            .collect()
    }
}

/// A log on a [`MemoryDisk`]; cheap to clone.
#[derive(Clone)]
pub struct MemoryLog {
    disk: MemoryDisk,
    life: u64,
    visible: Arc<Mutex<Image>>,
    fault: Arc<Fault>,
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLog").field("disk", &self.disk).finish_non_exhaustive()
    }
}

impl MemoryLog {
    /// Opens the log: what was synced on this disk.
    pub fn open(disk: &MemoryDisk) -> Self {
        let inner = disk.inner.lock();
        Self {
            disk: disk.clone(),
            life: inner.life,
            visible: Arc::new(Mutex::new(inner.durable.clone())),
            fault: Arc::new(Fault::none()),
        }
    }

    /// Fails the log, as a disk that answers no more.
    pub fn fail(&self, error: StorageError) {
        self.fault.set(error);
        let lost = std::mem::take(&mut self.disk.inner.lock().unsynced);
        for done in lost.into_iter().filter_map(|unsynced| unsynced.done) {
            done(self.fault.check());
        }
    }

    fn write(&self, write: Write, done: Option<Completion>) -> Result<(), StorageError> {
        self.fault.check()?;
        let (policy, claimed) = {
            let mut visible = self.visible.lock();
            let mut disk = self.disk.inner.lock();
            if disk.life != self.life {
                return Err(StorageError::Closed);
            }
            if let Write::Append(entries) = &write {
                visible.expect_next(entries)?;
            }
            visible.apply(&write);
            let (kept, claimed) =
                if disk.policy == SyncPolicy::Claimed { (None, done) } else { (done, None) };
            disk.unsynced.push_back(Unsynced { write, done: kept });
            (disk.policy, claimed)
        };
        if let Some(claimed) = claimed {
            claimed(Ok(()));
        }
        if policy == SyncPolicy::EachWrite {
            self.disk.sync();
        }
        Ok(())
    }

    /// How many bytes the entries after one, up to another, take.
    #[cfg(feature = "simulation")]
    pub(crate) fn bytes_between(&self, after: u64, upto: u64) -> u64 {
        let visible = self.visible.lock();
        let between = visible.entries.iter().filter(|it| it.log_id.index > after && it.log_id.index <= upto);
        between.map(|entry| entry.bytes.len() as u64).sum()
    }

    /// The first entry such that those after it, up to `upto`, take about `bytes` at most; 0: all do.
    #[cfg(feature = "simulation")]
    pub(crate) fn keeping(&self, upto: u64, bytes: u64) -> u64 {
        let visible = self.visible.lock();
        let mut kept = 0;
        let before = visible.entries.iter().rev().filter(|entry| entry.log_id.index <= upto).find(|entry| {
            kept += entry.bytes.len() as u64;
            kept > bytes
        });
        before.map_or(0, |entry| entry.log_id.index)
    }

    async fn write_and_wait(&self, write: Write) -> Result<(), StorageError> {
        let (sender, synced) = tokio::sync::oneshot::channel();
        let done = move |result| {
            // The caller may have stopped waiting.
            let _ = sender.send(result);
        };
        self.write(write, Some(Box::new(done)))?;
        synced.await.unwrap_or(Err(StorageError::Closed))
    }
}

impl LogBackend for MemoryLog {
    fn state(&self) -> LogState {
        self.visible.lock().state
    }

    fn vote(&self) -> Option<StoredVote> {
        self.visible.lock().vote
    }

    fn committed(&self) -> Option<StoredLogId> {
        self.visible.lock().committed
    }

    async fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<StoredEntry>, StorageError> {
        self.fault.check()?;
        Ok(self.visible.lock().read(range, max_bytes))
    }

    async fn append(&self, entries: Vec<StoredEntry>, done: Completion) -> Result<(), StorageError> {
        self.write(Write::Append(entries), Some(done))
    }

    async fn save_vote(&self, vote: StoredVote) -> Result<(), StorageError> {
        self.write_and_wait(Write::Vote(vote)).await
    }

    fn save_committed(&self, committed: Option<StoredLogId>) -> Result<(), StorageError> {
        self.write(Write::Committed(committed), None)
    }

    async fn truncate_after(&self, last: Option<StoredLogId>) -> Result<(), StorageError> {
        self.write_and_wait(Write::TruncateAfter(last)).await
    }

    async fn purge(&self, upto: StoredLogId) -> Result<(), StorageError> {
        self.write(Write::Purge(upto), None)
    }

    async fn poisoned(&self) -> StorageError {
        self.fault.wait().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn entry(index: u64) -> StoredEntry {
        StoredEntry { log_id: StoredLogId { term: 1, leader: 1, index }, bytes: vec![index as u8].into() }
    }

    async fn append(log: &MemoryLog, index: u64, acknowledged: &Arc<AtomicU64>) {
        let acknowledged = Arc::clone(acknowledged);
        let done = move |result: Result<(), StorageError>| {
            assert!(result.is_ok());
            acknowledged.fetch_add(1, Ordering::SeqCst);
        };
        log.append(vec![entry(index)], Box::new(done)).await.unwrap();
    }

    #[tokio::test]
    async fn a_crash_loses_exactly_what_was_not_synced() {
        let (disk, acknowledged) = (MemoryDisk::new(SyncPolicy::WhenTold), Arc::default());
        let log = MemoryLog::open(&disk);
        append(&log, 0, &acknowledged).await;
        append(&log, 1, &acknowledged).await;
        assert_eq!(acknowledged.load(Ordering::SeqCst), 0);
        disk.sync();
        assert_eq!(acknowledged.load(Ordering::SeqCst), 2);
        append(&log, 2, &acknowledged).await;
        assert_eq!(log.read(0..9, 99).await.unwrap().len(), 3, "readable before it is synced");
        assert_eq!(disk.unsynced(), 1);
        disk.crash();

        assert!(matches!(log.save_committed(None), Err(StorageError::Closed)));
        let log = MemoryLog::open(&disk);
        disk.sync();
        assert_eq!(log.read(0..9, 99).await.unwrap(), [entry(0), entry(1)]);
        assert_eq!(acknowledged.load(Ordering::SeqCst), 2, "what was lost is never acknowledged");
    }

    #[tokio::test]
    async fn a_vote_waits_for_the_sync() {
        let disk = MemoryDisk::new(SyncPolicy::WhenTold);
        let log = MemoryLog::open(&disk);
        let vote = StoredVote { term: 2, node: 1, committed: false };
        let (saved, ()) = tokio::join!(log.save_vote(vote), async { disk.sync() });
        saved.unwrap();
        disk.crash();
        assert_eq!(MemoryLog::open(&disk).vote(), Some(vote));
    }

    #[tokio::test]
    async fn a_disk_that_claims_has_acknowledged_what_a_crash_loses() {
        let (disk, acknowledged) = (MemoryDisk::new(SyncPolicy::Claimed), Arc::default());
        append(&MemoryLog::open(&disk), 0, &acknowledged).await;
        assert_eq!((acknowledged.load(Ordering::SeqCst), disk.unsynced()), (1, 1));
        disk.crash();
        assert_eq!(MemoryLog::open(&disk).state(), LogState::default());
    }

    #[tokio::test]
    async fn a_failed_log_acknowledges_nothing() {
        let disk = MemoryDisk::new(SyncPolicy::WhenTold);
        let log = MemoryLog::open(&disk);
        let (sender, answer) = std::sync::mpsc::channel();
        log.append(vec![entry(0)], Box::new(move |result| sender.send(result).unwrap())).await.unwrap();
        log.fail(StorageError::Engine("as told".to_owned()));
        assert!(matches!(answer.recv().unwrap(), Err(StorageError::Poisoned(_))));
        assert!(log.read(0..1, 1).await.is_err());
        assert!(matches!(log.poisoned().await, StorageError::Engine(_)));
    }
}
