//! Puts the parts of large entries together again, as the chunks come in the order of their keys.

use bytes::BytesMut;

use super::chunk::{BadChunk, Chunk, Part};
use crate::storage::{StoredEntry, StoredLogId};

/// Entries out of chunks.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    log_id: StoredLogId,
    next_part: u16,
    bytes: BytesMut,
}

impl Assembler {
    /// The entries that this chunk completes.
    pub(super) fn push(&mut self, chunk: Chunk) -> Result<Vec<StoredEntry>, BadChunk> {
        match chunk {
            Chunk::Packed(_) if self.open.is_some() => {
                Err(BadChunk("parts of the entry before it are missing"))
            }
            Chunk::Packed(entries) => Ok(entries),
            Chunk::Part(part) => Ok(self.push_part(part)?.into_iter().collect()),
        }
    }

    /// Whether parts of the last entry are missing so far.
    pub(super) fn is_incomplete(&self) -> bool {
        self.open.is_some()
    }

    fn push_part(&mut self, part: Part) -> Result<Option<StoredEntry>, BadChunk> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open {
                log_id: part.log_id,
                next_part: 0,
                bytes: BytesMut::with_capacity(part.entry_bytes.min(crate::limits::LOG_ENTRY_BYTES)),
            },
        };
        if open.log_id != part.log_id || open.next_part != part.number {
            return Err(BadChunk("parts of the entry are missing"));
        }
        open.bytes.extend_from_slice(&part.bytes);
        open.next_part += 1;
        if open.next_part < part.parts {
            self.open = Some(open);
            return Ok(None);
        }
        if open.bytes.len() != part.entry_bytes {
            return Err(BadChunk("the entry's parts have not the length that they say"));
        }
        Ok(Some(StoredEntry { log_id: part.log_id, bytes: open.bytes.freeze() }))
    }
}
