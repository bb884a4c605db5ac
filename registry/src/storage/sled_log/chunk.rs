//! Chunks: how entries lie under sled's keys. At most [`limits::LOG_VALUE_BYTES`] each, with a CRC-32C over key and value.
//!
//! All numbers are little-endian. A packed chunk: format 1 (u8), kind 0 (u8), count (u8), then for each entry term (u64),
//! leader (u64), length (u32), bytes; its entries have consecutive indexes from the key's on. A part of an entry that is
//! too large for one key: format 1, kind 1, number of parts (u16), term, leader, length of the whole (u32), its bytes.
//! Both end with the checksum (u32).

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    limits,
    storage::{StoredEntry, StoredLogId, keyspaces::ChunkKey},
};

const FORMAT: u8 = 1;
const PACKED: u8 = 0;
const PART: u8 = 1;
const CHECKSUM: usize = 4;
const PACKED_HEAD: usize = 3;
const ENTRY_HEAD: usize = 20;
const PART_HEAD: usize = 24;

const PACKED_ROOM: usize = limits::LOG_VALUE_BYTES - PACKED_HEAD - CHECKSUM;
const PART_ROOM: usize = limits::LOG_VALUE_BYTES - PART_HEAD - CHECKSUM;

const _: () = assert!(limits::LOG_CHUNK_ENTRIES <= u8::MAX as usize);
const _: () = assert!(limits::LOG_ENTRY_BYTES / PART_ROOM < u16::MAX as usize);

/// What a chunk holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// Whole entries.
    Packed(Vec<StoredEntry>),
    /// A piece of an entry.
    Part(Part),
}

/// A piece of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) log_id: StoredLogId,
    pub(super) number: u16,
    pub(super) parts: u16,
    pub(super) entry_bytes: usize,
    pub(super) bytes: Bytes,
}

/// Why a chunk is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadChunk(pub(super) &'static str);

/// A chunk as sled gets it.
pub(super) type KeyAndValue = (ChunkKey, Bytes);

/// Packs entries, whose indexes are consecutive, into chunks.
pub(super) fn pack(entries: &[StoredEntry]) -> Vec<KeyAndValue> {
    let mut chunks = Vec::with_capacity(entries.len() / limits::LOG_CHUNK_ENTRIES + 1);
    let mut rest = entries;
    while let Some(first) = rest.first() {
        let taken = fitting(rest);
        if taken == 0 {
            split(first, &mut chunks);
            rest = &rest[1..];
        } else {
            chunks.push(packed(&rest[..taken]));
            rest = &rest[taken..];
        }
    }
    chunks
}

/// How many of the first entries fit into one chunk.
fn fitting(entries: &[StoredEntry]) -> usize {
    let mut room = PACKED_ROOM;
    entries
        .iter()
        .take(limits::LOG_CHUNK_ENTRIES)
        .take_while(|entry| match room.checked_sub(ENTRY_HEAD + entry.bytes.len()) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        })
        .count()
}

fn packed(entries: &[StoredEntry]) -> KeyAndValue {
    let key = ChunkKey::first_of(entries.first().map_or(0, |entry| entry.log_id.index));
    let payload: usize = entries.iter().map(|entry| ENTRY_HEAD + entry.bytes.len()).sum();
    let mut value = BytesMut::with_capacity(PACKED_HEAD + payload + CHECKSUM);
    value.put_slice(&[FORMAT, PACKED, entries.len() as u8]);
    for entry in entries {
        put_head(&mut value, entry);
        value.put_slice(&entry.bytes);
    }
    finish(key, value)
}

fn split(entry: &StoredEntry, chunks: &mut Vec<KeyAndValue>) {
    let parts = entry.bytes.chunks(PART_ROOM);
    let count = parts.len() as u16;
    for (number, bytes) in parts.enumerate() {
        let key = ChunkKey { index: entry.log_id.index, part: number as u16 };
        let mut value = BytesMut::with_capacity(PART_HEAD + bytes.len() + CHECKSUM);
        value.put_slice(&[FORMAT, PART]);
        value.put_u16_le(count);
        put_head(&mut value, entry);
        value.put_slice(bytes);
        chunks.push(finish(key, value));
    }
}

fn put_head(value: &mut BytesMut, entry: &StoredEntry) {
    value.put_u64_le(entry.log_id.term);
    value.put_u64_le(entry.log_id.leader);
    value.put_u32_le(entry.bytes.len() as u32);
}

fn finish(key: ChunkKey, mut value: BytesMut) -> KeyAndValue {
    let sum = checksum(key, &value);
    value.put_u32_le(sum);
    (key, value.freeze())
}

fn checksum(key: ChunkKey, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&key.to_bytes()), body)
}

impl Chunk {
    /// Reads a chunk and checks it.
    pub(super) fn decode(key: ChunkKey, value: &[u8]) -> Result<Self, BadChunk> {
        let at = value.len().checked_sub(CHECKSUM).ok_or(BadChunk("it is too short"))?;
        let (body, sum) = value.split_at(at);
        if sum != checksum(key, body).to_le_bytes() {
            return Err(BadChunk("its checksum is wrong"));
        }
        let mut body = Reader(Bytes::copy_from_slice(body));
        if body.u8()? != FORMAT {
            return Err(BadChunk("its format is unknown: it was written by a newer version"));
        }
        match body.u8()? {
            PACKED => body.packed(key).map(Self::Packed),
            PART => body.part(key).map(Self::Part),
            _ => Err(BadChunk("its kind is unknown")),
        }
    }

    /// The index of the last entry that it holds or is a part of.
    pub(super) fn last_index(&self) -> u64 {
        match self {
            Self::Packed(entries) => entries.last().map_or(0, |entry| entry.log_id.index),
            Self::Part(part) => part.log_id.index,
        }
    }
}

struct Reader(Bytes);

impl Reader {
    fn packed(&mut self, key: ChunkKey) -> Result<Vec<StoredEntry>, BadChunk> {
        let count = self.u8()?;
        (0..u64::from(count))
            .map(|position| {
                let (log_id, length) = self.head(key.index + position)?;
                Ok(StoredEntry { log_id, bytes: self.take(length)? })
            })
            .collect()
    }

    fn part(&mut self, key: ChunkKey) -> Result<Part, BadChunk> {
        let parts = u16::from_le_bytes(self.array()?);
        let (log_id, entry_bytes) = self.head(key.index)?;
        Ok(Part { log_id, number: key.part, parts, entry_bytes, bytes: std::mem::take(&mut self.0) })
    }

    fn head(&mut self, index: u64) -> Result<(StoredLogId, usize), BadChunk> {
        let (term, leader) = (u64::from_le_bytes(self.array()?), u64::from_le_bytes(self.array()?));
        let length = u32::from_le_bytes(self.array()?) as usize;
        Ok((StoredLogId { term, leader, index }, length))
    }

    fn u8(&mut self) -> Result<u8, BadChunk> {
        self.array().map(|[byte]: [u8; 1]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadChunk> {
        self.take(N)?[..].try_into().map_err(|_| BadChunk("it is too short"))
    }

    fn take(&mut self, length: usize) -> Result<Bytes, BadChunk> {
        if length > self.0.len() {
            return Err(BadChunk("it is too short"));
        }
        Ok(self.0.split_to(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, bytes: usize) -> StoredEntry {
        let content: Vec<u8> = (0..bytes).map(|at| at as u8).collect();
        StoredEntry { log_id: StoredLogId { term: 2, leader: 3, index }, bytes: content.into() }
    }

    #[test]
    fn a_chunk_holds_at_most_its_entries_and_its_bytes() {
        let small: Vec<StoredEntry> = (0..100).map(|index| entry(index, 10)).collect();
        let first_indexes: Vec<u64> = pack(&small).iter().map(|(key, _)| key.index).collect();
        assert_eq!(first_indexes, [0, 32, 64, 96]);
        let large: Vec<StoredEntry> =
            (0..40).map(|index| entry(index, 1_000 + 300 * index as usize)).collect();
        assert!(pack(&large).iter().all(|(_, value)| value.len() <= limits::LOG_VALUE_BYTES));
    }

    #[test]
    fn any_flipped_byte_is_noticed_and_so_is_another_place() {
        for (key, value) in pack(&[entry(7, 40), entry(8, 7_000)]) {
            assert!(Chunk::decode(key, &value).is_ok());
            let elsewhere = ChunkKey { index: key.index + 1, ..key };
            assert!(Chunk::decode(elsewhere, &value).is_err());
            for at in 0..value.len() {
                let mut flipped = value.to_vec();
                flipped[at] ^= 4;
                assert!(Chunk::decode(key, &flipped).is_err(), "byte {at} of {key:?}");
            }
        }
    }

    #[test]
    fn format_1_stays_readable() {
        let packed = b"\x01\x00\x01\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x03\0\0\0\x00\x01\x02";
        let (key, value) = pack(&[entry(7, 3)]).remove(0);
        assert_eq!(value[..packed.len()], packed[..]);
        assert_eq!(value[packed.len()..], checksum(key, packed).to_le_bytes());
        assert_eq!(Chunk::decode(key, &value), Ok(Chunk::Packed(vec![entry(7, 3)])));

        let part = b"\x01\x01\x02\x00\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x58\x1b\0\0\x00\x01\x02";
        let (_, value) = pack(&[entry(7, 7_000)]).remove(0);
        assert_eq!(value[..part.len()], part[..]);
    }
}
