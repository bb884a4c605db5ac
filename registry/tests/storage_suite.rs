//! openraft's own suite for log stores, over both backends.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{io, sync::Arc};

use futures::StreamExt;
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder, StorageError,
    alias::{SnapshotMetaOf, SnapshotOf},
    storage::{EntryResponder, RaftStateMachine, Snapshot},
    testing::log::{StoreBuilder, Suite},
};
use parking_lot::Mutex;
use rollcall_registry::{
    model::response::Response,
    raft::{
        log_storage::RaftLog,
        type_config::{LogId, StoredMembership, TypeConfig},
    },
    storage::{DataDir, MemoryDisk, MemoryLog, SledLog, memory::SyncPolicy},
};
use tempfile::TempDir;

type SuiteError = StorageError<TypeConfig>;

/// A state machine that knows only how far it is.
#[derive(Debug, Clone, Default)]
struct Progress {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshot: Option<SnapshotMetaOf<TypeConfig>>,
}

impl RaftSnapshotBuilder<TypeConfig> for Progress {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, ()>> {
        let mut state = self.state.lock();
        let meta = SnapshotMetaOf::<TypeConfig> {
            last_log_id: state.applied,
            last_membership: state.membership.clone(),
        };
        state.snapshot = Some(meta.clone());
        Ok(Snapshot { meta, snapshot: () })
    }
}

impl RaftStateMachine<TypeConfig> for Progress {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let state = self.state.lock();
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: futures::Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            {
                let mut state = self.state.lock();
                state.applied = Some(entry.log_id);
                if let EntryPayload::Membership(membership) = entry.payload {
                    state.membership = StoredMembership::new(Some(entry.log_id), membership);
                }
            }
            if let Some(responder) = responder {
                responder.send(Response::Done);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMetaOf<TypeConfig>, _snapshot: ()) -> io::Result<()> {
        let mut state = self.state.lock();
        state.applied = meta.last_log_id;
        state.membership = meta.last_membership.clone();
        state.snapshot = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, ()>>> {
        let meta = self.state.lock().snapshot.clone();
        Ok(meta.map(|meta| Snapshot { meta, snapshot: () }))
    }
}

struct OnDisk;

impl StoreBuilder<TypeConfig, RaftLog<SledLog>, Progress, TempDir> for OnDisk {
    async fn build(&self) -> Result<(TempDir, RaftLog<SledLog>, Progress), SuiteError> {
        let folder = tempfile::tempdir().unwrap();
        let log = SledLog::open(&DataDir::open(folder.path(), "n1").unwrap()).unwrap();
        Ok((folder, RaftLog::new(log), Progress::default()))
    }
}

struct InMemory;

impl StoreBuilder<TypeConfig, RaftLog<MemoryLog>, Progress> for InMemory {
    async fn build(&self) -> Result<((), RaftLog<MemoryLog>, Progress), SuiteError> {
        let log = MemoryLog::open(&MemoryDisk::new(SyncPolicy::EachWrite));
        Ok(((), RaftLog::new(log), Progress::default()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_on_disk_passes_openrafts_suite() {
    Suite::test_all(OnDisk).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_in_memory_passes_openrafts_suite() {
    Suite::test_all(InMemory).await.unwrap();
}
