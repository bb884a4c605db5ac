//! Small records as they lie on disk: format (u32), length (u32), CRC-32C (u32) of the payload, payload; little-endian.

/// What is wrong with a sealed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SealError {
    /// It is shorter or longer than it says.
    Length,
    /// Its checksum does not match.
    Checksum,
    /// Its payload cannot be read, although the checksum matches.
    Payload,
    /// Its format is newer than this version.
    Format(u32),
}

impl SealError {
    /// For people.
    pub(crate) fn describe(self) -> String {
        match self {
            Self::Length => "its length is wrong".to_owned(),
            Self::Checksum => "its checksum is wrong".to_owned(),
            Self::Payload => "its content cannot be read".to_owned(),
            Self::Format(found) => format!("it has the unknown format {found}"),
        }
    }
}

const HEAD: usize = 12;

/// Seals a payload.
pub(crate) fn seal(format: u32, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32;
    let mut sealed = Vec::with_capacity(HEAD + payload.len());
    sealed.extend_from_slice(&format.to_le_bytes());
    sealed.extend_from_slice(&length.to_le_bytes());
    sealed.extend_from_slice(&checksum(format, length, payload).to_le_bytes());
    sealed.extend_from_slice(payload);
    sealed
}

/// The payload of a sealed record of this format.
pub(crate) fn unseal(format: u32, sealed: &[u8]) -> Result<&[u8], SealError> {
    let (head, payload) = sealed.split_at_checked(HEAD).ok_or(SealError::Length)?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if word(4) as usize != payload.len() {
        return Err(SealError::Length);
    }
    if word(8) != checksum(word(0), word(4), payload) {
        return Err(SealError::Checksum);
    }
    if word(0) != format {
        return Err(SealError::Format(word(0)));
    }
    Ok(payload)
}

fn checksum(format: u32, length: u32, payload: &[u8]) -> u32 {
    let head = crc32c::crc32c_append(crc32c::crc32c(&format.to_le_bytes()), &length.to_le_bytes());
    crc32c::crc32c_append(head, payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_payload_comes_back() {
        assert_eq!(unseal(1, &seal(1, b"vote")), Ok(&b"vote"[..]));
        assert_eq!(unseal(1, &seal(1, b"")), Ok(&b""[..]));
    }

    #[test]
    fn any_flipped_byte_is_noticed() {
        let sealed = seal(1, b"vote");
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 0x10;
            assert!(matches!(unseal(1, &flipped), Err(SealError::Length | SealError::Checksum)), "byte {at}");
        }
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        assert_eq!(unseal(1, &seal(2, b"vote")), Err(SealError::Format(2)));
    }

    #[test]
    fn format_1_stays_readable() {
        let written = [1, 0, 0, 0, 4, 0, 0, 0, 0x67, 0x18, 0xca, 0xa5, b'v', b'o', b't', b'e'];
        assert_eq!(seal(1, b"vote"), written);
    }
}
