//! This crate's metrics, declared once: name, unit, description.

use metrics::{Unit, counter, describe_counter, describe_histogram};

/// How long the log's `fdatasync` took, in seconds.
pub const STORAGE_FSYNC_SECONDS: &str = "rollcall_storage_fsync_seconds";
/// How long a command took from its proposal at this node to its application at the leader, in seconds.
pub const RAFT_PROPOSAL_SECONDS: &str = "rollcall_raft_proposal_seconds";
/// Commands that this node proposed and that were not committed at once, by `reason`.
pub const RAFT_PROPOSALS_FAILED: &str = "rollcall_raft_proposals_failed_total";
/// Changes in each batch that this node proposed.
pub const BATCH_CHANGES: &str = "rollcall_registry_batch_changes";
/// How long writing a snapshot took, in seconds.
pub const SNAPSHOT_WRITE_SECONDS: &str = "rollcall_snapshot_write_seconds";
/// Snapshots that this node received from a leader and installed.
pub const SNAPSHOTS_INSTALLED: &str = "rollcall_snapshots_installed_total";
/// Leases of other nodes that lapsed while this node led.
pub const LEASES_LAPSED: &str = "rollcall_leases_lapsed_total";

/// Why a proposal was not committed at once: the values of `reason`.
pub const PROPOSAL_FAILURES: [&str; 2] = [REFUSED, NOT_COMMITTED];
/// It was committed, and refused by its application.
pub(crate) const REFUSED: &str = "refused";
/// No leader took it in time, or it is not known whether one did; it may be proposed again.
pub(crate) const NOT_COMMITTED: &str = "not_committed";

/// Describes the metrics to the installed recorder, and shows those that have not happened yet. Call once, before the registry
/// starts.
pub fn describe() {
    describe_histogram!(STORAGE_FSYNC_SECONDS, Unit::Seconds, "How long the fdatasync of the Raft log took");
    describe_histogram!(
        RAFT_PROPOSAL_SECONDS,
        Unit::Seconds,
        "How long a command took from its proposal at this node to its application at the leader"
    );
    describe_counter!(
        RAFT_PROPOSALS_FAILED,
        "Commands that this node proposed and that were not committed, or were refused, by reason"
    );
    describe_histogram!(BATCH_CHANGES, "Changes of sessions in each batch that this node proposed");
    describe_histogram!(SNAPSHOT_WRITE_SECONDS, Unit::Seconds, "How long writing a snapshot took");
    describe_counter!(SNAPSHOTS_INSTALLED, "Snapshots that this node received from a leader and installed");
    describe_counter!(LEASES_LAPSED, "Leases of other nodes that lapsed while this node led");
    for reason in PROPOSAL_FAILURES {
        counter!(RAFT_PROPOSALS_FAILED, "reason" => reason).absolute(0);
    }
    counter!(SNAPSHOTS_INSTALLED).absolute(0);
    counter!(LEASES_LAPSED).absolute(0);
}
