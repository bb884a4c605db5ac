//! Logs and metrics: installed once a process, never in the way of the data.

mod grpc_metrics;
mod logging;
pub mod metric_names;
mod recorder;

pub use grpc_metrics::GrpcMetricsLayer;
pub use logging::{LogGuard, LoggingError, install as install_logging};
pub use recorder::{RecorderError, install as install_metrics, keep_up as keep_up_metrics};
