//! The one call that makes writes survive a power cut, apart so that tests can count it and make it fail.

use std::{fs::File, io};

use crate::faults::{self, Switch};

/// A file whose data can be made durable.
pub(super) trait SyncFile: Send {
    /// Makes all data written so far, by whichever handle, durable.
    fn sync_data(&mut self) -> io::Result<()>;
}

impl SyncFile for File {
    fn sync_data(&mut self) -> io::Result<()> {
        faults::before_sync()?;
        if faults::is_on(Switch::SyncsSkipped) {
            return Ok(());
        }
        File::sync_data(self)
    }
}
