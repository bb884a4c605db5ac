//! Reads the whole log at start: every checksum, no holes. Cuts a torn end, refuses everything else.
//!
//! What tells them apart is the mark: what was acknowledged must be there. Beyond it, bad chunks are a torn end only if
//! nothing good follows them; otherwise they are damage in the middle.

use super::{
    assemble::Assembler,
    chunk::{BadChunk, Chunk},
    mark::Acknowledged,
    read::chunk_of,
    records::Record,
};
use crate::storage::{
    DataDir, LogState, StorageError, StoredEntry, StoredLogId, StoredVote,
    keyspaces::{self, ChunkKey},
    volume::LogVolume,
};

/// What the check found.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) state: LogState,
    pub(super) vote: Option<StoredVote>,
    pub(super) committed: Option<StoredLogId>,
    pub(super) sequence: u64,
    /// Where the log begins if nothing was purged.
    pub(super) first: u64,
    /// How many bytes the entries take.
    pub(super) volume: LogVolume,
    /// The chunk with the first entry, if anything was purged.
    pub(super) begins: Option<ChunkKey>,
    /// Keys of a torn end, to be removed.
    pub(super) torn: Vec<ChunkKey>,
}

/// Checks the log against what was acknowledged.
pub(super) fn check(
    dir: &DataDir,
    tree: &sled::Tree,
    acknowledged: Acknowledged,
) -> Result<Checked, StorageError> {
    let sequence = record(dir, tree, keyspaces::SEQUENCE, "the log's write counter")?.unwrap_or(0);
    if sequence < acknowledged.sequence {
        return Err(dir.damaged(
            "the log",
            format!(
                "it ends at write {sequence}, but writes up to {} were acknowledged; the log may have reached index {}",
                acknowledged.sequence,
                acknowledged.next_index.saturating_sub(1)
            ),
        ));
    }
    let vote = record(dir, tree, keyspaces::VOTE, "the vote")?;
    let committed = record(dir, tree, keyspaces::COMMITTED, "the committed index")?;
    let purged: Option<StoredLogId> = record(dir, tree, keyspaces::PURGED, "the purged index")?;
    let first = record(dir, tree, keyspaces::FIRST, "the log's first index")?.unwrap_or(0);
    let begins = purged.map(|purged| chunk_of(tree, purged.index + 1)).transpose()?;
    let scan = Scan::new(first, purged).run(tree, begins.map_or(0, |begins| begins.index))?;
    let torn = scan.judge(dir, tree, acknowledged)?;
    let state = LogState { purged, last: scan.last };
    Ok(Checked { state, vote, committed, sequence, first, volume: scan.volume, begins, torn })
}

fn record<R: Record>(
    dir: &DataDir,
    tree: &sled::Tree,
    key: &[u8],
    name: &str,
) -> Result<Option<R>, StorageError> {
    tree.get(key)?
        .map(|sealed| R::from_sealed(&sealed).map_err(|error| dir.damaged(name, error.describe())))
        .transpose()
}

/// A walk over all chunks up to the first that is bad.
struct Scan {
    /// The index that the next entry must have.
    expected: u64,
    last: Option<StoredLogId>,
    volume: LogVolume,
    bad: Option<BadChunk>,
}

impl Scan {
    fn new(first: u64, purged: Option<StoredLogId>) -> Self {
        let expected = purged.map_or(first, |purged| purged.index + 1);
        Self { expected, last: purged, volume: LogVolume::default(), bad: None }
    }

    fn run(mut self, tree: &sled::Tree, begins: u64) -> Result<Self, StorageError> {
        let mut assembler = Assembler::default();
        for pair in chunks_from(tree, begins) {
            let (key, chunk) = pair?;
            let taken = chunk
                .and_then(|chunk| assembler.push(chunk))
                .and_then(|entries| entries.iter().try_for_each(|entry| self.take(entry)));
            if let Err(bad) = taken {
                // A damaged chunk of purged entries is of no use to anyone.
                if key.index >= self.expected || self.last.is_some_and(|last| key.index > last.index) {
                    self.bad = Some(bad);
                    return Ok(self);
                }
                assembler = Assembler::default();
            }
        }
        if assembler.is_incomplete() {
            self.bad = Some(BadChunk("parts of the entry are missing"));
        }
        Ok(self)
    }

    fn take(&mut self, entry: &StoredEntry) -> Result<(), BadChunk> {
        let log_id = entry.log_id;
        if log_id.index < self.expected {
            return Ok(());
        }
        if log_id.index > self.expected {
            return Err(BadChunk("the entry is missing"));
        }
        self.expected += 1;
        self.last = Some(log_id);
        self.volume.push(log_id.index, entry.bytes.len());
        Ok(())
    }

    /// The keys of a torn end, or the error for everything else.
    fn judge(
        &self,
        dir: &DataDir,
        tree: &sled::Tree,
        acknowledged: Acknowledged,
    ) -> Result<Vec<ChunkKey>, StorageError> {
        let index = self.expected;
        let damaged =
            |detail: &str| Err(dir.damaged(&format!("the log at index {index}"), detail.to_owned()));
        let Some(BadChunk(detail)) = self.bad else {
            return match index < acknowledged.next_index {
                true => damaged("the log ends before it, but the entry was acknowledged"),
                false => Ok(Vec::new()),
            };
        };
        if index < acknowledged.next_index {
            return damaged(&format!("{detail}, and the entry was acknowledged"));
        }
        let mut torn = Vec::new();
        for pair in chunks_from(tree, index) {
            let (key, chunk) = pair?;
            if chunk.is_ok_and(|chunk| chunk.last_index() > index) {
                return damaged(&format!("{detail}, and good entries follow it"));
            }
            torn.push(key);
        }
        tracing::warn!(
            index,
            detail,
            chunks = torn.len(),
            "the log has a torn end that was never acknowledged; it is cut"
        );
        Ok(torn)
    }
}

/// All chunks with this or a higher first index.
fn chunks_from(
    tree: &sled::Tree,
    index: u64,
) -> impl Iterator<Item = Result<(ChunkKey, Result<Chunk, BadChunk>), StorageError>> {
    let keys = ChunkKey::first_of(index).to_bytes()..=ChunkKey::last_of(u64::MAX).to_bytes();
    tree.range(keys).map(|pair| {
        let (key, value) = pair?;
        let key = ChunkKey::from_bytes(&key)
            .ok_or_else(|| StorageError::Engine("the log holds a key of unknown form".to_owned()))?;
        Ok((key, Chunk::decode(key, &value)))
    })
}
