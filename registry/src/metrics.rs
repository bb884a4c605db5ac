//! This crate's metrics, declared once: name, unit, description.

use metrics::{Unit, describe_histogram};

/// How long the log's `fdatasync` took, in seconds.
pub const STORAGE_FSYNC_SECONDS: &str = "rollcall_storage_fsync_seconds";

/// Describes the metrics to the installed recorder. Call once, before the registry starts.
pub fn describe() {
    describe_histogram!(STORAGE_FSYNC_SECONDS, Unit::Seconds, "How long the fdatasync of the Raft log took.");
}
