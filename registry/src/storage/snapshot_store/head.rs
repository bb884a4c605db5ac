//! The head of a snapshot file, 32 bytes: magic (8), then sealed as other small records are: body length (u64) and the
//! body's CRC-32C (u32).

use std::io::{self, Read};

use crate::storage::seal::{SealError, seal, unseal};

const MAGIC: &[u8; 8] = b"RCLLSNAP";
/// The format that this version writes.
pub(super) const FORMAT: u32 = 1;
/// How long a head is.
pub(super) const BYTES: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) body_bytes: u64,
    pub(super) checksum: u32,
}

impl Head {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut payload = [0; 12];
        payload[..8].copy_from_slice(&self.body_bytes.to_le_bytes());
        payload[8..].copy_from_slice(&self.checksum.to_le_bytes());
        [MAGIC.as_slice(), &seal(FORMAT, &payload)].concat()
    }

    pub(super) fn read(file: &mut impl Read) -> io::Result<Result<Self, SealError>> {
        let mut bytes = [0; BYTES];
        match file.read_exact(&mut bytes) {
            Ok(()) => Ok(Self::decode(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Err(SealError::Length)),
            Err(error) => Err(error),
        }
    }

    fn decode(bytes: &[u8; BYTES]) -> Result<Self, SealError> {
        let sealed = bytes.strip_prefix(MAGIC).ok_or(SealError::Payload)?;
        let (length, checksum) = unseal(FORMAT, sealed)?.split_at_checked(8).ok_or(SealError::Length)?;
        Ok(Self {
            body_bytes: u64::from_le_bytes(length.try_into().map_err(|_| SealError::Length)?),
            checksum: u32::from_le_bytes(checksum.try_into().map_err(|_| SealError::Length)?),
        })
    }
}
