//! Reads a snapshot's body and checks it on the way.

use std::{
    fs::File,
    io::{self, BufReader, Read},
};

use super::{SnapshotFile, head::Head};

/// A snapshot's body. The last read, which returns 0, is an error if length or checksum are wrong.
#[derive(Debug)]
pub struct SnapshotReader {
    file: BufReader<File>,
    snapshot: SnapshotFile,
    read: Head,
}

impl SnapshotReader {
    pub(super) fn new(file: BufReader<File>, snapshot: SnapshotFile) -> Self {
        Self { file, snapshot, read: Head { body_bytes: 0, checksum: 0 } }
    }

    fn check(&self) -> io::Result<usize> {
        if self.read == self.snapshot.head {
            return Ok(0);
        }
        Err(self.snapshot.damaged("its length or checksum is wrong".to_owned()).into())
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        if length == 0 && !buffer.is_empty() {
            return self.check();
        }
        self.read.body_bytes += length as u64;
        self.read.checksum = crc32c::crc32c_append(self.read.checksum, &buffer[..length]);
        Ok(length)
    }
}
