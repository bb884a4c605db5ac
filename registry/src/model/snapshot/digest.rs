//! A hash of a snapshot that does not depend on the process, unlike the standard library's.

use std::io::{self, Write};

use super::SnapshotView;

/// FNV-1a, 64 bits (Fowler, Noll, Vo): good enough to tell states apart, not against an attacker.
struct Fnv(u64);

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

impl Write for Fnv {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SnapshotView {
    /// See [`crate::model::state::State::digest`].
    pub fn digest(&self) -> u64 {
        let mut hash = Fnv(OFFSET);
        // Hashing never fails.
        let _ = self.write(&mut hash);
        hash.0
    }
}
