//! When a snapshot is built, and how much of the log is kept behind it. What this decides, [`super::compactor`] does.

use crate::limits::{
    SNAPSHOT_EVERY_BYTES, SNAPSHOT_EVERY_ENTRIES, SNAPSHOT_KEEP_BYTES, SNAPSHOT_KEEP_ENTRIES,
};

/// How many bytes of entries a log may have: about the sum of these, or of two snapshots if those are larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    /// After which a snapshot is built.
    pub snapshot_every_bytes: u64,
    /// Kept behind a snapshot.
    pub keep_bytes: u64,
}

/// [`SNAPSHOT_EVERY_BYTES`] and [`SNAPSHOT_KEEP_BYTES`].
impl Default for LogBounds {
    fn default() -> Self {
        Self { snapshot_every_bytes: SNAPSHOT_EVERY_BYTES, keep_bytes: SNAPSHOT_KEEP_BYTES }
    }
}

/// A log and the newest snapshot beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LogSeen {
    pub(super) bounds: LogBounds,
    /// The last entry applied.
    pub(super) applied: u64,
    /// The last entry that the snapshot stands for; 0: there is none.
    pub(super) snapshot: u64,
    /// How large the snapshot is.
    pub(super) snapshot_bytes: u64,
    /// What the entries after the snapshot take, up to the last one applied.
    pub(super) bytes_since: u64,
}

impl LogSeen {
    /// Whether enough has come together since the snapshot for another one.
    pub(super) fn wants_snapshot(&self) -> bool {
        let entries = self.applied.saturating_sub(self.snapshot);
        let bytes = self.bounds.snapshot_every_bytes.max(self.snapshot_bytes);
        entries >= SNAPSHOT_EVERY_ENTRIES || (entries > 0 && self.bytes_since >= bytes)
    }

    /// How many bytes of entries stay behind the snapshot.
    pub(super) fn bytes_kept(&self) -> u64 {
        self.bounds.keep_bytes.max(self.snapshot_bytes)
    }

    /// The last entry that is given up, if those after `kept_after` are all that the bytes allow; 0: none.
    pub(super) fn given_up(&self, kept_after: u64) -> u64 {
        self.snapshot.saturating_sub(SNAPSHOT_KEEP_ENTRIES).max(kept_after).min(self.snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn seen(applied: u64, bytes_since: u64) -> LogSeen {
        let (snapshot, snapshot_bytes) = (100_000, 10 * MIB);
        LogSeen { applied, snapshot, snapshot_bytes, bytes_since, ..LogSeen::default() }
    }

    #[test]
    fn many_small_entries_want_a_snapshot_and_so_do_few_large_ones() {
        assert!(!seen(119_999, 20 * MIB).wants_snapshot());
        assert!(seen(120_000, 20 * MIB).wants_snapshot());
        assert!(!seen(100_600, 255 * MIB).wants_snapshot());
        assert!(seen(100_600, 256 * MIB).wants_snapshot());
    }

    #[test]
    fn no_more_is_written_for_snapshots_than_for_the_log() {
        let large = LogSeen { snapshot_bytes: 1_000 * MIB, ..seen(101_000, 999 * MIB) };
        assert!(!large.wants_snapshot());
        assert!(LogSeen { bytes_since: 1_000 * MIB, ..large }.wants_snapshot());
        assert_eq!(large.bytes_kept(), 1_000 * MIB);
    }

    #[test]
    fn what_nothing_was_applied_since_is_not_built_again() {
        assert!(!seen(100_000, 900 * MIB).wants_snapshot());
        assert!(!LogSeen::default().wants_snapshot());
    }

    #[test]
    fn what_is_kept_is_within_both_bounds_and_never_beyond_the_snapshot() {
        assert_eq!(seen(100_000, 0).given_up(0), 95_000);
        assert_eq!(seen(100_000, 0).given_up(99_000), 99_000);
        assert_eq!(seen(150_000, 0).given_up(120_000), 100_000);
        assert_eq!(LogSeen { snapshot: 3_000, ..LogSeen::default() }.given_up(0), 0);
    }
}
