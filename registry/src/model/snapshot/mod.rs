//! Snapshots of the state: taken in a moment, written while apply goes on, read back into a new state.
//!
//! Rows live in chunks of [`crate::limits::ROW_CHUNK`] behind shared pointers. Taking a snapshot clones the pointers
//! (8,000 for a million rows) and the few node records: this is all that apply waits for. While the snapshot lives,
//! the first change of a chunk copies it, 8 KB, so that the snapshot keeps the rows of its moment; at worst, when
//! every chunk changes meanwhile, the rows are there twice. What rows share (profile, holder) never changes in place.
//!
//! The body is a sequence of length-delimited `SnapshotRecord`s: the cluster, who may do what, what is said of groups and the nodes by id, then the
//! devices by namespace and id, each profile just before the first device that names it. So equal states give equal bytes,
//! whatever their history.

mod digest;
mod restore;
mod write;

use std::{collections::HashSet, sync::Arc};

use compact_str::CompactString;
pub use restore::RestoreError;
pub(crate) use restore::next as next_record;

use super::{
    ids::LogIndex,
    policy::{AccessRules, GroupPolicy},
    state::{Cluster, Node, State},
};
use crate::routes::{row::Row, shard::Chunk};

/// The state at one moment. Cheap to take and to hold; may be written on another thread.
#[derive(Debug)]
pub struct SnapshotView {
    cluster: Option<Cluster>,
    nodes: Vec<Node>,
    chunks: Vec<Arc<Chunk>>,
    applied: LogIndex,
}

impl State {
    /// The state at this moment. Takes less than a millisecond per million rows, and no I/O.
    pub fn snapshot(&self) -> SnapshotView {
        SnapshotView {
            cluster: self.cluster.clone(),
            nodes: self.nodes.values().cloned().collect(),
            chunks: self.writer.tables().chunks(),
            applied: self.applied_index(),
        }
    }

    /// A hash of what the state says, equal on equal replicas at the same index, in any process. The index itself
    /// is not part of it. Takes as long as writing a snapshot: for tests and checks.
    pub fn digest(&self) -> u64 {
        self.snapshot().digest()
    }
}

impl SnapshotView {
    /// The last entry in it.
    pub fn applied_index(&self) -> LogIndex {
        self.applied
    }

    /// How many devices it has.
    pub fn devices(&self) -> u64 {
        self.rows().count() as u64
    }

    /// How many records [`Self::write`] writes.
    pub fn records(&self) -> u64 {
        let mut profiles = HashSet::new();
        let mut rows = 0;
        for row in self.rows() {
            rows += 1;
            profiles.insert(Arc::as_ptr(&row.cohort.own));
        }
        1 + self.access_rules().iter().len() as u64
            + self.group_policies().count() as u64
            + self.nodes.len() as u64
            + profiles.len() as u64
            + rows
    }

    fn access_rules(&self) -> Option<&AccessRules> {
        self.cluster.as_ref()?.access_rules.as_deref()
    }

    fn group_policies(&self) -> impl Iterator<Item = (&CompactString, &CompactString, GroupPolicy)> {
        self.cluster.iter().flat_map(|cluster| cluster.group_policies.iter())
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().flatten())
    }
}
