//! All sled trees and keys.
//!
//! | tree | key | value |
//! |---|---|---|
//! | `raft` | `s/sequence` | sealed u64: rises with each write |
//! | `raft` | `s/vote` | sealed [`Vote`](rollcall_proto::storage::Vote) |
//! | `raft` | `s/committed` | sealed [`LogId`](rollcall_proto::storage::LogId) |
//! | `raft` | `s/first` | sealed u64: where a log began that did not begin at 0 |
//! | `raft` | `s/purged` | sealed [`LogId`](rollcall_proto::storage::LogId) |
//! | `raft` | `e` + index (u64) + part (u16), big-endian | a chunk, see `sled_log/chunk.rs` |
//!
//! One tree, whose changes sled keeps in their order. Sealed: format, payload and CRC-32C, see `seal.rs`.

/// The one tree.
pub(super) const TREE: &str = "raft";
/// How many writes there were.
pub(super) const SEQUENCE: &[u8] = b"s/sequence";
/// Whom this node voted for.
pub(super) const VOTE: &[u8] = b"s/vote";
/// The last known committed entry.
pub(super) const COMMITTED: &[u8] = b"s/committed";
/// The index that an empty log, of which nothing was purged, began with. Absent: 0.
pub(super) const FIRST: &[u8] = b"s/first";
/// The last purged entry.
pub(super) const PURGED: &[u8] = b"s/purged";

const ENTRY: u8 = b'e';

/// Where a chunk stands: the index of its first entry, and its part if that entry fills several keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChunkKey {
    pub(super) index: u64,
    pub(super) part: u16,
}

impl ChunkKey {
    /// How many bytes a key has.
    pub(super) const BYTES: usize = 11;

    /// The first key that an entry of this index can have.
    pub(super) fn first_of(index: u64) -> Self {
        Self { index, part: 0 }
    }

    /// The last key that an entry of this index can have.
    pub(super) fn last_of(index: u64) -> Self {
        Self { index, part: u16::MAX }
    }

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [ENTRY; Self::BYTES];
        bytes[1..9].copy_from_slice(&self.index.to_be_bytes());
        bytes[9..].copy_from_slice(&self.part.to_be_bytes());
        bytes
    }

    /// `None` if these are not the bytes of a chunk's key.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let (&tag, rest) = bytes.split_first()?;
        let (index, part) = rest.split_at(8);
        (tag == ENTRY).then_some(())?;
        Some(Self {
            index: u64::from_be_bytes(index.try_into().ok()?),
            part: u16::from_be_bytes(part.try_into().ok()?),
        })
    }
}
