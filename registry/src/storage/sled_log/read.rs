//! Reads entries: those on disk from sled, the unsynced ones from the window.

use std::ops::Range;

use super::{
    assemble::Assembler,
    chunk::{BadChunk, Chunk},
    shared::Shared,
};
use crate::storage::{StorageError, StoredEntry, keyspaces::ChunkKey};

/// What a read found in the window, and what it has to fetch from disk first.
struct Plan {
    on_disk: Range<u64>,
    unsynced: Vec<StoredEntry>,
    truncations: u64,
}

/// Whether a read needs the disk.
pub(super) enum Step {
    /// All that was asked for is in memory.
    Done(Vec<StoredEntry>),
    /// Call [`from_disk`], from a thread that may block.
    NeedsDisk,
}

/// Reads from memory alone, if that is possible.
pub(super) fn from_memory(shared: &Shared, range: Range<u64>, max_bytes: usize) -> Step {
    let plan = plan(shared, range, max_bytes);
    if plan.on_disk.is_empty() { Step::Done(plan.unsynced) } else { Step::NeedsDisk }
}

/// Reads from disk and memory. Blocks.
pub(super) fn from_disk(
    shared: &Shared,
    range: Range<u64>,
    max_bytes: usize,
) -> Result<Vec<StoredEntry>, StorageError> {
    loop {
        let plan = plan(shared, range.clone(), max_bytes);
        let mut found = Found::new(max_bytes);
        let walked = walk(shared, plan.on_disk.clone(), &mut found);
        // Entries were replaced while we read: what we have is of two logs.
        if shared.window.read().truncations() != plan.truncations {
            continue;
        }
        // Entries were removed before we came to them.
        if matches!(&walked, Err(Fault::Bad(index, _)) if *index < shared.window.read().first_index()) {
            continue;
        }
        walked.map_err(|fault| fault.into_error(shared))?;
        found.complete(shared, &plan.on_disk)?;
        for entry in plan.unsynced {
            found.push(entry);
        }
        return Ok(found.entries);
    }
}

fn plan(shared: &Shared, range: Range<u64>, max_bytes: usize) -> Plan {
    let window = shared.window.read();
    let start = range.start.max(window.first_index());
    let end = range.end.min(window.state().next_index());
    let on_disk = start..end.min(window.first_unsynced());
    let mut found = Found::new(max_bytes);
    for entry in window.unsynced(start.max(on_disk.end), end) {
        if found.push(entry.clone()) == Room::Full {
            break;
        }
    }
    Plan { on_disk, unsynced: found.entries, truncations: window.truncations() }
}

/// Entries found so far, and how many bytes more may come.
struct Found {
    entries: Vec<StoredEntry>,
    bytes: usize,
    max_bytes: usize,
    room: Room,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Left,
    Full,
}

impl Found {
    fn new(max_bytes: usize) -> Self {
        Self { entries: Vec::new(), bytes: 0, max_bytes, room: Room::Left }
    }

    fn push(&mut self, entry: StoredEntry) -> Room {
        if !self.entries.is_empty() && self.bytes + entry.bytes.len() > self.max_bytes {
            self.room = Room::Full;
        }
        if self.room == Room::Left {
            self.bytes += entry.bytes.len();
            self.entries.push(entry);
        }
        self.room
    }

    /// Checks that nothing is missing but what was purged meanwhile.
    fn complete(&self, shared: &Shared, wanted: &Range<u64>) -> Result<(), StorageError> {
        let first_index = shared.window.read().first_index();
        let begin = wanted.start.max(first_index);
        let mut next = begin;
        for entry in self.entries.iter().skip_while(|entry| entry.log_id.index < begin) {
            if entry.log_id.index != next {
                return Err(missing(shared, next));
            }
            next += 1;
        }
        if self.room == Room::Left && next < wanted.end { Err(missing(shared, next)) } else { Ok(()) }
    }
}

fn missing(shared: &Shared, index: u64) -> StorageError {
    shared.dir.damaged(&format!("the log at index {index}"), "the entry is missing".to_owned())
}

enum Fault {
    Engine(sled::Error),
    Bad(u64, BadChunk),
}

impl Fault {
    fn into_error(self, shared: &Shared) -> StorageError {
        match self {
            Self::Engine(error) => error.into(),
            Self::Bad(index, BadChunk(detail)) => {
                shared.dir.damaged(&format!("the log at index {index}"), detail.to_owned())
            }
        }
    }
}

fn walk(shared: &Shared, wanted: Range<u64>, found: &mut Found) -> Result<(), Fault> {
    if wanted.is_empty() {
        return Ok(());
    }
    let _no_removals = shared.removals.read();
    let start = chunk_of(&shared.tree, wanted.start).map_err(Fault::Engine)?;
    let mut assembler = Assembler::default();
    for pair in shared.tree.range(start.to_bytes()..ChunkKey::first_of(wanted.end).to_bytes()) {
        let (key, value) = pair.map_err(Fault::Engine)?;
        let key =
            ChunkKey::from_bytes(&key).ok_or(Fault::Bad(wanted.start, BadChunk("a key is not a chunk's")))?;
        let entries = Chunk::decode(key, &value)
            .and_then(|chunk| assembler.push(chunk))
            .map_err(|bad| Fault::Bad(key.index, bad))?;
        for entry in entries.into_iter().filter(|entry| wanted.contains(&entry.log_id.index)) {
            if found.push(entry) == Room::Full {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The first key of the chunk that holds this entry.
pub(super) fn chunk_of(tree: &sled::Tree, index: u64) -> Result<ChunkKey, sled::Error> {
    let before = ChunkKey::first_of(0).to_bytes()..=ChunkKey::last_of(index).to_bytes();
    let key = tree.range(before).keys().next_back().transpose()?;
    let first = key.and_then(|key| ChunkKey::from_bytes(&key)).map_or(index, |key| key.index);
    Ok(ChunkKey::first_of(first))
}
