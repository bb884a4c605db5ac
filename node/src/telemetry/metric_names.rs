//! Every metric of this crate, declared once: name, kind, unit, what it says.
//!
//! The gRPC ones have go-grpc-middleware's names and labels and the process' own have those of Prometheus' client libraries,
//! so that dashboards made for them work.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

/// 1, with the labels `version` and `node`.
pub const BUILD_INFO: &str = "rollcall_build_info";
/// RPCs started, by `grpc_type`, `grpc_service`, `grpc_method`.
pub const GRPC_STARTED: &str = "grpc_server_started_total";
/// RPCs ended, by the same and `grpc_code`.
pub const GRPC_HANDLED: &str = "grpc_server_handled_total";
/// How long they took, by `grpc_type`, `grpc_service`, `grpc_method`.
pub const GRPC_SECONDS: &str = "grpc_server_handling_seconds";
/// Calls by `group` and `fault`; beyond some groups, `_other`.
pub const GROUP_CALLS: &str = "rollcall_group_calls_total";
/// Log lines that were dropped because stderr was slower than the node.
pub const LOG_LINES_DROPPED: &str = "rollcall_log_lines_dropped_total";
/// Spans that were recorded and reached no collector.
pub const TRACES_DROPPED: &str = "rollcall_traces_dropped_total";
/// 1 while `/readyz` answers 200.
pub const READY: &str = "rollcall_ready";
/// 1 while the node is ready without a leader anywhere.
pub const DEGRADED: &str = "rollcall_degraded";
/// 1 while this node knows a leader.
pub const HAS_LEADER: &str = "rollcall_raft_has_leader";
/// 1 while this node leads.
pub const IS_LEADER: &str = "rollcall_raft_is_leader";
/// Leaders that this node has seen follow another one.
pub const LEADER_CHANGES: &str = "rollcall_raft_leader_changes_total";
/// The Raft term.
pub const TERM: &str = "rollcall_raft_term";
/// The last log index that this node applied.
pub const APPLIED_INDEX: &str = "rollcall_raft_applied_index";
/// The last index of this node's log.
pub const LAST_LOG_INDEX: &str = "rollcall_raft_last_log_index";
/// About how many bytes the entries of this node's log take.
pub const LOG_BYTES: &str = "rollcall_raft_log_bytes";
/// Nodes that vote.
pub const VOTERS: &str = "rollcall_raft_voters";
/// Nodes that do not.
pub const LEARNERS: &str = "rollcall_raft_learners";
/// How many voters may still be lost.
pub const FAILURE_TOLERANCE: &str = "rollcall_failure_tolerance";
/// How long this node's lease holds without another beat.
pub const LEASE_REMAINING: &str = "rollcall_lease_remaining_seconds";
/// What the members write by now: the level that all of them can take part in.
pub const FEATURE_LEVEL: &str = "rollcall_feature_level";
/// Devices that the registry knows.
pub const REGISTRY_DEVICES: &str = "rollcall_registry_devices";
/// Sessions of all nodes, as this node's replica has them.
pub const REGISTRY_SESSIONS: &str = "rollcall_registry_sessions";
/// What is free on the data folder's file system.
pub const DISK_FREE: &str = "rollcall_data_dir_free_bytes";
/// How large that file system is.
pub const DISK_SIZE: &str = "rollcall_data_dir_size_bytes";
/// Tasks of the runtime that have not ended.
pub const RUNTIME_TASKS: &str = "rollcall_runtime_tasks";
/// Tasks that wait for a thread of the runtime.
pub const RUNTIME_QUEUED: &str = "rollcall_runtime_queued_tasks";
/// Time on processors.
pub const PROCESS_CPU: &str = "process_cpu_seconds_total";
/// Memory in use.
pub const PROCESS_RESIDENT: &str = "process_resident_memory_bytes";
/// Address space in use.
pub const PROCESS_VIRTUAL: &str = "process_virtual_memory_bytes";
/// Open files and sockets.
pub const PROCESS_OPEN_FDS: &str = "process_open_fds";
/// How many there may be.
pub const PROCESS_MAX_FDS: &str = "process_max_fds";
/// Threads.
pub const PROCESS_THREADS: &str = "process_threads";
/// When the process began, as Unix time.
pub const PROCESS_START: &str = "process_start_time_seconds";

/// When the certificate of a `listener` ends, in seconds since 1970.
pub const CERTIFICATE_EXPIRY: &str = "rollcall_certificate_expiry_timestamp_seconds";
/// Changed certificates that were read again, by `listener` and `result`: `done`, `failed`.
pub const CERTIFICATE_RELOADS: &str = "rollcall_certificate_reloads_total";

/// Requests that were refused, by `why`.
pub const ACCESS_REFUSED: &str = "rollcall_access_refused_total";

/// Calls that were refused because of their caller's or group's limit, by `limit`, the setting.
pub const RATE_LIMITED: &str = "rollcall_calls_rate_limited_total";

/// Requests that were cut off because they came too slowly.
pub const REQUESTS_TOO_SLOW: &str = "rollcall_requests_too_slow_total";

/// Changed rules that were read again, by `result`: `done`, `failed`.
pub const ACCESS_RELOADS: &str = "rollcall_access_reloads_total";

/// Fetches of key sets that are behind a URL, by `result`: `done`, `failed`.
pub const KEY_FETCHES: &str = "rollcall_access_key_fetches_total";

/// Describes all of them, and shows those that never change or have not happened yet.
pub fn describe(node: &str) {
    describe_gauge!(BUILD_INFO, "Always 1; the labels say what runs");
    describe_counter!(GRPC_STARTED, "RPCs started on the server");
    describe_counter!(GRPC_HANDLED, "RPCs completed on the server, whatever their code");
    describe_histogram!(GRPC_SECONDS, Unit::Seconds, "How long RPCs took on the server, streams included");
    describe_counter!(
        GROUP_CALLS,
        "Calls that entered through this node and were routed, by group and whose fault their failure is"
    );
    describe_counter!(LOG_LINES_DROPPED, "Log lines dropped because stderr was too slow");
    describe_counter!(TRACES_DROPPED, "Spans dropped because the collector was too slow or gone");
    describe_gauge!(READY, "Whether the node is ready");
    describe_gauge!(DEGRADED, "Whether the node is ready although no leader is known anywhere");
    describe_cluster();
    describe_process();
    describe_gauge!(CERTIFICATE_EXPIRY, Unit::Seconds, "When the listener's certificate ends, since 1970");
    describe_counter!(CERTIFICATE_RELOADS, "Changed certificates that were read again, by result");
    describe_counter!(ACCESS_REFUSED, "Requests of nobody known, or for what is not permitted, by why");
    describe_counter!(RATE_LIMITED, "Calls refused by a limit of callers or groups, by the setting");
    describe_counter!(REQUESTS_TOO_SLOW, "Requests cut off because their messages came too slowly");
    describe_counter!(KEY_FETCHES, "Fetches of key sets that are behind a URL, by result");
    describe_counter!(ACCESS_RELOADS, "Changed rules of who may do what that were read again, by result");
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION"), "node" => node.to_owned()).set(1.0);
    counter!(LOG_LINES_DROPPED).absolute(0);
    counter!(TRACES_DROPPED).absolute(0);
    counter!(LEADER_CHANGES).absolute(0);
}

fn describe_cluster() {
    describe_gauge!(HAS_LEADER, "Whether this node knows a leader");
    describe_gauge!(IS_LEADER, "Whether this node leads");
    describe_counter!(LEADER_CHANGES, "Leaders that this node has seen follow another one");
    describe_gauge!(TERM, "The Raft term");
    describe_gauge!(APPLIED_INDEX, "The last log index that this node applied");
    describe_gauge!(LAST_LOG_INDEX, "The last index of this node's log");
    describe_gauge!(LOG_BYTES, Unit::Bytes, "About how many bytes the entries of this node's log take");
    describe_gauge!(VOTERS, "Nodes that vote");
    describe_gauge!(LEARNERS, "Nodes that have no vote");
    describe_gauge!(
        FAILURE_TOLERANCE,
        "How many voters may still be lost before nothing can change any more, as this node sees it"
    );
    describe_gauge!(LEASE_REMAINING, Unit::Seconds, "How long this node's lease holds if no beat follows");
    describe_gauge!(
        FEATURE_LEVEL,
        "The cluster's feature level: what all members can take part in, and never less again"
    );
    describe_gauge!(REGISTRY_DEVICES, "Devices that the registry knows");
    describe_gauge!(REGISTRY_SESSIONS, "Sessions of devices on all nodes, as this node's replica has them");
}

fn describe_process() {
    describe_gauge!(DISK_FREE, Unit::Bytes, "What is free on the file system of the data folder");
    describe_gauge!(DISK_SIZE, Unit::Bytes, "How large the file system of the data folder is");
    describe_gauge!(RUNTIME_TASKS, "Tasks of the runtime that have not ended");
    describe_gauge!(RUNTIME_QUEUED, "Tasks that wait for a thread of the runtime");
    describe_counter!(PROCESS_CPU, Unit::Seconds, "User and system CPU time spent");
    describe_gauge!(PROCESS_RESIDENT, Unit::Bytes, "Resident memory");
    describe_gauge!(PROCESS_VIRTUAL, Unit::Bytes, "Virtual memory");
    describe_gauge!(PROCESS_OPEN_FDS, "Open file descriptors");
    describe_gauge!(PROCESS_MAX_FDS, "The limit on open file descriptors");
    describe_gauge!(PROCESS_THREADS, "Threads");
    describe_gauge!(PROCESS_START, Unit::Seconds, "When the process began, since the Unix epoch");
}
