//! Every metric of this crate, declared once: name, kind, unit, what it says.
//!
//! The gRPC ones have go-grpc-middleware's names and labels, so that dashboards made for them work.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

/// 1, with the labels `version` and `node`.
pub const BUILD_INFO: &str = "rollcall_build_info";
/// RPCs started, by `grpc_type`, `grpc_service`, `grpc_method`.
pub const GRPC_STARTED: &str = "grpc_server_started_total";
/// RPCs ended, by the same and `grpc_code`.
pub const GRPC_HANDLED: &str = "grpc_server_handled_total";
/// How long they took, by `grpc_type`, `grpc_service`, `grpc_method`.
pub const GRPC_SECONDS: &str = "grpc_server_handling_seconds";
/// Log lines that were dropped because stderr was slower than the node.
pub const LOG_LINES_DROPPED: &str = "rollcall_log_lines_dropped_total";
/// 1 while `/readyz` answers 200.
pub const READY: &str = "rollcall_ready";
/// 1 while the node is ready without a leader anywhere.
pub const DEGRADED: &str = "rollcall_degraded";

/// Describes all of them, and shows those that never change.
pub fn describe(node: &str) {
    describe_gauge!(BUILD_INFO, "Always 1; the labels say what runs");
    describe_counter!(GRPC_STARTED, "RPCs started on the server");
    describe_counter!(GRPC_HANDLED, "RPCs completed on the server, whatever their code");
    describe_histogram!(GRPC_SECONDS, Unit::Seconds, "How long RPCs took on the server, streams included");
    describe_counter!(LOG_LINES_DROPPED, "Log lines dropped because stderr was too slow");
    describe_gauge!(READY, "Whether the node is ready");
    describe_gauge!(DEGRADED, "Whether the node is ready although no leader is known anywhere");
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION"), "node" => node.to_owned()).set(1.0);
    counter!(LOG_LINES_DROPPED).absolute(0);
}
