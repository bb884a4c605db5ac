//! The durable log, on sled 0.34 by four rules: a real fsync after each flush, values of at most 6 KiB, many entries a key,
//! and one ordered writer that syncs once for all that waits.

mod assemble;
mod check;
mod chunk;
mod disk;
pub(super) mod fault;
mod mark;
mod open;
mod read;
mod records;
mod request;
mod shared;
mod sync_file;
#[cfg(test)]
mod tests;
mod window;
mod writer;

use std::{
    fmt,
    ops::Range,
    sync::{Arc, mpsc},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task,
};

use self::{
    read::Step,
    request::{Reply, Request, Write},
    shared::Shared,
};
use super::{Completion, DataDir, LogBackend, LogState, StorageError, StoredEntry, StoredLogId, StoredVote};
use crate::limits;

/// A handle of the log; cheap to clone. The log closes when the last one is dropped, or with [`Self::close`].
#[derive(Clone)]
pub struct SledLog {
    shared: Arc<Shared>,
    sender: mpsc::Sender<Request>,
    appends: Arc<Semaphore>,
    controls: Arc<Semaphore>,
}

impl fmt::Debug for SledLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledLog").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

impl SledLog {
    /// Opens the log of this folder, or makes an empty one; reads and checks all of it. Blocks.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if it is not what was acknowledged, [`StorageError::Io`] and [`StorageError::Engine`] if
    /// it cannot be read.
    pub fn open(dir: &DataDir) -> Result<Self, StorageError> {
        open::open(dir, |file| Box::new(file))
    }

    /// Waits until nothing of a closed log of this folder, whose handles are dropped, touches its files any more. Blocks.
    pub(crate) fn wait_released(dir: &DataDir) {
        open::wait_for_release(&dir.log_path().join("db"));
    }

    fn new(shared: Arc<Shared>, sender: mpsc::Sender<Request>) -> Self {
        Self {
            shared,
            sender,
            appends: Arc::new(Semaphore::new(limits::LOG_APPENDS_IN_FLIGHT)),
            controls: Arc::new(Semaphore::new(limits::LOG_CONTROLS_QUEUED)),
        }
    }

    /// Writes what waits and ends the writer. Later operations get [`StorageError::Closed`].
    ///
    /// # Errors
    /// If the store is, or becomes, poisoned.
    pub async fn close(&self) -> Result<(), StorageError> {
        self.control(|done| Write::Close { done }).await
    }

    /// About how many bytes the entries after one, up to another, take.
    pub(crate) fn bytes_between(&self, after: u64, upto: u64) -> u64 {
        self.shared.window.read().volume().between(after, upto)
    }

    /// The first entry such that those after it, up to `upto`, take about `bytes` at most; 0: all do.
    pub(crate) fn keeping(&self, upto: u64, bytes: u64) -> u64 {
        self.shared.window.read().volume().keeping(upto, bytes)
    }

    /// Queues a write that is waited for.
    async fn control(&self, write: impl FnOnce(Reply) -> Write) -> Result<(), StorageError> {
        let permit = permit(&self.controls).await?;
        let (done, answer) = oneshot::channel();
        self.send(write(done), permit)?;
        answer.await.unwrap_or(Err(StorageError::Closed))
    }

    fn send(&self, write: Write, permit: OwnedSemaphorePermit) -> Result<(), StorageError> {
        self.shared.fault.check()?;
        self.sender.send(Request { write, _permit: permit }).map_err(|_| StorageError::Closed)
    }
}

async fn permit(semaphore: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, StorageError> {
    Arc::clone(semaphore).acquire_owned().await.map_err(|_| StorageError::Closed)
}

impl LogBackend for SledLog {
    fn state(&self) -> LogState {
        self.shared.window.read().state()
    }

    fn vote(&self) -> Option<StoredVote> {
        *self.shared.vote.read()
    }

    fn committed(&self) -> Option<StoredLogId> {
        self.shared.committed.lock().noted()
    }

    async fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<StoredEntry>, StorageError> {
        self.shared.fault.check()?;
        if let Step::Done(entries) = read::from_memory(&self.shared, range.clone(), max_bytes) {
            return Ok(entries);
        }
        let shared = Arc::clone(&self.shared);
        match task::spawn_blocking(move || read::from_disk(&shared, range, max_bytes)).await {
            Ok(read) => read.map_err(|error| self.shared.fault.set(error)),
            Err(error) if error.is_panic() => {
                Err(self.shared.fault.set(StorageError::Engine(format!("a read panicked: {error}"))))
            }
            // The runtime is being shut down.
            Err(_cancelled) => Err(StorageError::Closed),
        }
    }

    async fn append(&self, entries: Vec<StoredEntry>, done: Completion) -> Result<(), StorageError> {
        if let Some(large) = entries.iter().find(|entry| entry.bytes.len() > limits::LOG_ENTRY_BYTES) {
            return Err(StorageError::EntryTooLarge {
                bytes: large.bytes.len(),
                limit: limits::LOG_ENTRY_BYTES,
            });
        }
        let permit = permit(&self.appends).await?;
        self.shared.fault.check()?;
        // Under one lock, so that the window and the queue have the same order.
        let mut window = self.shared.window.write();
        let number = window.append(&entries)?;
        self.send(Write::Append { number, entries, done }, permit)
    }

    async fn save_vote(&self, vote: StoredVote) -> Result<(), StorageError> {
        self.control(|done| Write::Vote { vote, done }).await
    }

    fn save_committed(&self, committed: Option<StoredLogId>) -> Result<(), StorageError> {
        self.shared.fault.check()?;
        self.shared.committed.lock().note(committed);
        Ok(())
    }

    async fn truncate_after(&self, last: Option<StoredLogId>) -> Result<(), StorageError> {
        let permit = permit(&self.controls).await?;
        let (done, answer) = oneshot::channel();
        {
            let mut window = self.shared.window.write();
            if !window.truncate_after(last) {
                return Ok(());
            }
            let last = window.state().last;
            self.send(Write::TruncateAfter { last, done }, permit)?;
        }
        answer.await.unwrap_or(Err(StorageError::Closed))
    }

    async fn purge(&self, upto: StoredLogId) -> Result<(), StorageError> {
        let permit = permit(&self.controls).await?;
        let mut window = self.shared.window.write();
        if window.purge(upto) { self.send(Write::Purge { upto }, permit) } else { Ok(()) }
    }

    async fn poisoned(&self) -> StorageError {
        self.shared.fault.wait().await
    }
}
