//! The log's writer: one thread, one queue. Gathers what waits, writes it, syncs once, and completes in order.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use super::{
    disk::Disk,
    request::{Reply, Request, Write},
    shared::Shared,
};
use crate::{limits, storage::StorageError};

pub(super) struct Writer {
    disk: Disk,
    requests: Receiver<Request>,
    shared: Arc<Shared>,
    mark_synced: Instant,
    farewell: Option<Farewell>,
}

/// The answer to a close, given when nothing is open any more.
pub(super) struct Farewell {
    done: Reply,
    result: Result<(), StorageError>,
}

impl Farewell {
    pub(super) fn say(self) {
        // The caller may have stopped waiting.
        let _ = self.done.send(self.result);
    }
}

/// What the writer does after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

impl Writer {
    pub(super) fn new(disk: Disk, requests: Receiver<Request>, shared: Arc<Shared>) -> Self {
        Self { disk, requests, shared, mark_synced: Instant::now(), farewell: None }
    }

    /// Runs until the store is closed or all its handles are dropped.
    pub(super) fn run(mut self) -> Option<Farewell> {
        while self.turn() == Next::GoOn {}
        let late = self.requests.try_iter().collect();
        self.complete(late, &Err(StorageError::Closed));
        self.farewell
    }

    fn turn(&mut self) -> Next {
        let (run, next) = self.gather();
        if run.is_empty() && self.shared.fault.check().is_err() {
            return next;
        }
        let written = match self.shared.fault.check() {
            Err(poisoned) => Err(poisoned),
            Ok(()) => self.write(&run).map_err(|error| self.shared.fault.set(error)),
        };
        self.complete(run, &written);
        next
    }

    /// All that waits, up to [`limits::LOG_FLUSH_BYTES`]; nothing after a second in which nothing came, or if there is sweeping to
    /// be done meanwhile.
    fn gather(&self) -> (Vec<Request>, Next) {
        let has_work = self.disk.is_sweeping() && self.shared.fault.check().is_ok();
        let patience = if has_work { Duration::ZERO } else { limits::LOG_MARK_INTERVAL };
        let first = match self.requests.recv_timeout(patience) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => return (Vec::new(), Next::GoOn),
            Err(RecvTimeoutError::Disconnected) => return (Vec::new(), Next::End),
        };
        let mut bytes = first.write.entry_bytes();
        let mut run = vec![first];
        loop {
            if matches!(run.last().map(|request| &request.write), Some(Write::Close { .. })) {
                return (run, Next::End);
            }
            match self.requests.try_recv() {
                Ok(request) if bytes < limits::LOG_FLUSH_BYTES => {
                    bytes += request.write.entry_bytes();
                    run.push(request);
                }
                Ok(request) => {
                    run.push(request);
                    return (run, Next::GoOn);
                }
                Err(_) => return (run, Next::GoOn),
            }
        }
    }

    /// Writes the run and makes it durable. sled may panic on damage: that is a fault like any other.
    fn write(&mut self, run: &[Request]) -> Result<(), StorageError> {
        catch_unwind(AssertUnwindSafe(|| self.write_or_panic(run))).unwrap_or_else(|_| {
            Err(StorageError::Engine("it panicked; its message is in the process's output".to_owned()))
        })
    }

    fn write_or_panic(&mut self, run: &[Request]) -> Result<(), StorageError> {
        for request in run {
            match &request.write {
                Write::Append { entries, .. } => self.disk.append(entries)?,
                Write::Vote { vote, .. } => self.disk.set_vote(*vote),
                Write::TruncateAfter { last, .. } => self.disk.truncate_after(*last)?,
                Write::Purge { upto } => self.disk.purge(*upto)?,
                Write::Close { .. } => {}
            }
        }
        if let Some(committed) = self.shared.committed.lock().take_unwritten() {
            self.disk.set_committed(committed);
        }
        self.disk.sweep()?;
        self.disk.sync()?;
        let pausing = match run.last().map(|request| &request.write) {
            Some(write) => matches!(write, Write::Close { .. }),
            None => !self.disk.is_sweeping(),
        };
        if self.disk.mark.is_unsynced()
            && (pausing || self.mark_synced.elapsed() >= limits::LOG_MARK_INTERVAL)
        {
            self.disk.mark.sync()?;
            self.mark_synced = Instant::now();
        }
        Ok(())
    }

    /// Tells everyone of the run, in order. The permits are released as the requests are dropped.
    fn complete(&mut self, run: Vec<Request>, written: &Result<(), StorageError>) {
        if written.is_ok() {
            self.publish(&run);
        }
        for request in run {
            match request.write {
                Write::Append { done, .. } => done(written.clone()),
                Write::Vote { done, .. } | Write::TruncateAfter { done, .. } => {
                    // The caller may have stopped waiting.
                    let _ = done.send(written.clone());
                }
                Write::Purge { .. } => {}
                Write::Close { done } if self.farewell.is_none() => {
                    self.farewell = Some(Farewell { done, result: written.clone() });
                }
                Write::Close { done } => drop(done.send(written.clone())),
            }
        }
    }

    /// Lets readers see the vote, and read from disk what is there now.
    fn publish(&self, run: &[Request]) {
        for request in run {
            match &request.write {
                Write::Append { number, .. } => self.shared.window.write().synced(*number),
                Write::Vote { vote, .. } => *self.shared.vote.write() = Some(*vote),
                Write::TruncateAfter { .. } | Write::Purge { .. } | Write::Close { .. } => {}
            }
        }
    }
}
