//! Logs and metrics: installed once a process, never in the way of the data.

mod call_accounts;
mod cluster_gauges;
mod grpc_metrics;
mod logging;
pub mod metric_names;
mod process;
mod recorder;
pub mod traces;

pub use call_accounts::{AccessLog, CallAccounts, EndedCall};
pub use cluster_gauges::{Beside, ClusterGauges};
pub use grpc_metrics::GrpcMetricsLayer;
pub use logging::{
    LogGuard, LoggingError, filter as log_filter, install as install_logging, set_filter as set_log_filter,
};
pub use process::{show as show_process, show_start as show_process_start};
pub use recorder::{RecorderError, install as install_metrics, keep_up as keep_up_metrics};
