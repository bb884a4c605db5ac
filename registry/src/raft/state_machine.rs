//! openraft's view of the model: applies entries in order, builds snapshots beside it, installs them.

use std::{io, sync::Arc};

use futures::{Stream, TryStreamExt};
use openraft::{
    EntryPayload, RaftSnapshotBuilder, Snapshot as RaftSnapshot,
    alias::SnapshotMetaOf,
    storage::{EntryResponder, RaftStateMachine},
};

use super::{
    snapshot::{self, SnapshotData},
    type_config::{LogId, Snapshot, StoredMembership, TypeConfig},
};
use crate::{
    blocking,
    model::{event::Event, ids::LogIndex, response::Response, snapshot::SnapshotView, state::State},
    observers::Observers,
    routes::Routes,
    storage::SnapshotStore,
};

type Meta = SnapshotMetaOf<TypeConfig>;

/// The model, with what openraft needs to know of it.
pub struct StateMachine {
    state: State,
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshots: SnapshotStore,
    observers: Observers,
}

impl StateMachine {
    /// The state of the newest snapshot, or an empty one. Blocks.
    ///
    /// # Errors
    /// The snapshot cannot be read, or is not what was written.
    pub(crate) fn open(snapshots: SnapshotStore, observers: Observers) -> Result<Self, io::Error> {
        let (meta, state) = match snapshots.newest() {
            Some(file) => snapshot::read(&file)?,
            None => (Meta::default(), State::new()),
        };
        let (applied, membership) = (meta.last_log_id, meta.last_membership);
        Ok(Self { state, applied, membership, snapshots, observers })
    }

    /// The read side.
    pub(crate) fn routes(&self) -> Routes {
        self.state.routes()
    }

    fn apply_entry(&mut self, log_id: LogId, payload: EntryPayloadOf) -> Response {
        let index = LogIndex(log_id.index);
        self.applied = Some(log_id);
        match payload {
            EntryPayload::Normal(command) => {
                let applied = self.state.apply(index, command.command());
                self.observers.applied(index, &applied.events);
                applied.response
            }
            EntryPayload::Blank => self.pass(index),
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(log_id), membership);
                self.pass(index)
            }
        }
    }

    fn pass(&mut self, index: LogIndex) -> Response {
        self.state.advance(index);
        self.observers.applied(index, &[]);
        Response::Done
    }
}

type EntryPayloadOf = openraft::alias::EntryPayloadOf<TypeConfig>;

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let response = self.apply_entry(entry.log_id, entry.payload);
            if let Some(responder) = responder {
                responder.send(response);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder {
            meta: Meta { last_log_id: self.applied, last_membership: self.membership.clone() },
            view: Some(Arc::new(self.state.snapshot())),
            snapshots: self.snapshots.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &Meta, data: SnapshotData) -> Result<(), io::Error> {
        let (store, wanted) = (self.snapshots.clone(), meta.clone());
        let restored = blocking::spawn(move || {
            let file = snapshot::adopt(&store, &wanted, data)?;
            snapshot::read(&file)
        });
        let (meta, state) = restored.await.map_err(io::Error::other)??;
        self.state.install(state);
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership;
        let index = self.state.applied_index();
        tracing::info!(%index, "installed a snapshot");
        // A batch in flight may be among the entries that the snapshot stands for.
        let batches: Vec<_> = self.state.last_batches().map(Event::BatchApplied).collect();
        self.observers.applied(index, &batches);
        self.observers.snapshot_installed(index);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let Some(file) = self.snapshots.newest() else {
            return Ok(None);
        };
        let reading = file.clone();
        let meta = blocking::spawn(move || snapshot::read_meta(&reading)).await;
        let meta = meta.map_err(io::Error::other)??;
        Ok(Some(RaftSnapshot { meta, snapshot: SnapshotData::Stored(file) }))
    }
}

/// Writes one snapshot, while apply goes on.
pub struct SnapshotBuilder {
    meta: Meta,
    view: Option<Arc<SnapshotView>>,
    snapshots: SnapshotStore,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let view = self.view.take().ok_or_else(|| io::Error::other("a builder builds one snapshot"))?;
        let (meta, store) = (self.meta.clone(), self.snapshots.clone());
        let written = blocking::spawn(move || {
            let file = snapshot::write(&store, &meta, |writer| view.write(writer).map(drop))?;
            Ok::<_, io::Error>(RaftSnapshot { meta, snapshot: SnapshotData::Stored(file) })
        });
        written.await.map_err(io::Error::other)?
    }
}
