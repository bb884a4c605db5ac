//! The journal of a run: everybody writes, the checkers read when all is over.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;

use super::{CallRecord, Ending, Execution, OwnershipRecord, ReplicaSight, Sight};

/// All that was recorded since the run began. A run lasts a minute at most, so nothing here is bounded.
#[derive(Debug)]
pub struct Journal {
    begun: Instant,
    begun_by_wall: SystemTime,
    calls: Mutex<Vec<CallRecord>>,
    processes: AtomicU64,
    executions: Mutex<Vec<Execution>>,
    owners: Mutex<Vec<OwnershipRecord>>,
    replicas: Mutex<Vec<ReplicaSight>>,
}

/// A call whose caller still waits.
#[derive(Debug, Clone, Copy)]
pub struct OpenCall(usize);

impl Default for Journal {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            begun_by_wall: SystemTime::now(),
            calls: Mutex::default(),
            processes: AtomicU64::new(1),
            executions: Mutex::default(),
            owners: Mutex::default(),
            replicas: Mutex::default(),
        }
    }
}

impl Journal {
    /// The time since the run began.
    pub fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// When the run began, by the wall clock and since 1970.
    pub fn begun_by_wall(&self) -> Duration {
        self.begun_by_wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }

    /// A call is being sent.
    pub fn sent(&self, request_id: &str, device_id: &str, through: &str, idempotent: bool) -> OpenCall {
        let mut calls = self.calls.lock();
        calls.push(CallRecord {
            request_id: request_id.to_owned(),
            device_id: device_id.to_owned(),
            through: through.to_owned(),
            idempotent,
            sent_at: self.now(),
            ended: None,
        });
        OpenCall(calls.len() - 1)
    }

    /// A call has ended.
    pub fn ended(&self, call: OpenCall, ending: Ending) {
        let at = self.now();
        if let Some(record) = self.calls.lock().get_mut(call.0) {
            record.ended = Some((at, ending));
        }
    }

    /// A number for an agent process.
    pub fn process(&self) -> u64 {
        self.processes.fetch_add(1, Relaxed)
    }

    /// A handler has started in a process; gives its number for [`Journal::finished`].
    pub fn started(&self, device_id: &str, process: u64, request_id: &str, epoch: u64) -> usize {
        let mut executions = self.executions.lock();
        executions.push(Execution {
            device_id: device_id.to_owned(),
            process,
            request_id: request_id.to_owned(),
            epoch,
            started_at: self.now(),
            ended_at: None,
        });
        executions.len() - 1
    }

    /// A handler has ended.
    pub fn finished(&self, execution: usize) {
        let at = self.now();
        if let Some(execution) = self.executions.lock().get_mut(execution) {
            execution.ended_at = Some(at);
        }
    }

    /// Somebody asked at `from` who holds a device, or to hold it, and now has the answer.
    pub fn saw(&self, device_id: &str, from: Duration, sight: Sight) {
        let record = OwnershipRecord { device_id: device_id.to_owned(), from, to: self.now(), sight };
        self.owners.lock().push(record);
    }

    /// A node's own replica was asked at `from` who holds a device, and the answer is there.
    pub fn read(&self, by: &str, device_id: &str, from: Duration, epoch: Option<u64>) {
        let (by, device_id, to) = (by.to_owned(), device_id.to_owned(), self.now());
        self.replicas.lock().push(ReplicaSight { by, device_id, from, to, epoch });
    }

    /// All that replicas said so far, in the order of the answers.
    pub fn replicas(&self) -> Vec<ReplicaSight> {
        self.replicas.lock().clone()
    }

    /// All calls so far, in the order of their sending.
    pub fn calls(&self) -> Vec<CallRecord> {
        self.calls.lock().clone()
    }

    /// All executions so far, in the order of their beginnings.
    pub fn executions(&self) -> Vec<Execution> {
        self.executions.lock().clone()
    }

    /// All sights of owners so far, in the order of the answers.
    pub fn owners(&self) -> Vec<OwnershipRecord> {
        self.owners.lock().clone()
    }
}
