//! What happened, in order: hashed always, kept as text if somebody wants to read it.

use std::{
    fmt::{self, Write},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

/// FNV-1a, 64 bits: two runs that differ anywhere have another hash.
struct Hash(u64);

impl Write for Hash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 =
            text.bytes().fold(self.0, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Ok(())
    }
}

struct Lines {
    hash: Hash,
    count: u64,
    /// `None`: nobody wants to read it.
    kept: Option<Vec<String>>,
}

/// The trace of a run; cheap to clone, all clones are the same.
#[derive(Clone)]
pub(crate) struct Trace(Arc<Mutex<Lines>>);

impl Trace {
    pub(crate) fn new(keeps: Option<Vec<String>>) -> Self {
        Self(Arc::new(Mutex::new(Lines { hash: Hash(0xcbf2_9ce4_8422_2325), count: 0, kept: keeps })))
    }

    pub(crate) fn line(&self, at: Duration, what: fmt::Arguments<'_>) {
        let mut lines = self.0.lock();
        lines.count += 1;
        // Neither fails.
        let _ = writeln!(lines.hash, "{} {what}", at.as_micros());
        if let Some(kept) = &mut lines.kept {
            kept.push(format!("{:>10.3} {what}", at.as_secs_f64()));
        }
    }

    /// The hash of all lines, and how many they are.
    pub(crate) fn hash(&self) -> (u64, u64) {
        let lines = self.0.lock();
        (lines.hash.0, lines.count)
    }

    pub(crate) fn take(&self) -> Vec<String> {
        self.0.lock().kept.take().unwrap_or_default()
    }
}
