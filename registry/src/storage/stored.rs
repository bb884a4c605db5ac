//! What a log store keeps, in its own words: ids, votes and entries, free of openraft's types.

use std::fmt;

use bytes::Bytes;

/// Where an entry stands in the log. Orders as Raft does: by term, then leader, then index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredLogId {
    /// The leader's term.
    pub term: u64,
    /// The leader.
    pub leader: u64,
    /// The position in the log; the first is 0.
    pub index: u64,
}

impl fmt::Display for StoredLogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "index {} (term {}, leader {})", self.index, self.term, self.leader)
    }
}

/// Whom this node voted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredVote {
    /// The term voted in.
    pub term: u64,
    /// The node voted for.
    pub node: u64,
    /// Whether a quorum granted it.
    pub committed: bool,
}

/// A log entry: where it stands, and its encoded form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Where it stands.
    pub log_id: StoredLogId,
    /// Its encoded form; at most [`crate::limits::LOG_ENTRY_BYTES`].
    pub bytes: Bytes,
}

/// Which part of the log there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogState {
    /// The last entry that was purged. `None`: none was.
    pub purged: Option<StoredLogId>,
    /// The last entry; the last purged one if there are no others.
    pub last: Option<StoredLogId>,
}

impl LogState {
    /// The index of the first entry that there is, or would be.
    pub fn first_index(&self) -> u64 {
        self.purged.map_or(0, |purged| purged.index + 1)
    }

    /// The index that the next entry takes.
    pub fn next_index(&self) -> u64 {
        self.last.map_or(0, |last| last.index + 1)
    }
}
