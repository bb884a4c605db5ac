//! The recorder behind all metrics, rendered for Prometheus by the HTTP listener.

use std::sync::{Mutex, PoisonError};

use metrics::counter;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use thiserror::Error;
use tracing_appender::non_blocking::ErrorCounter;

use super::metric_names::LOG_LINES_DROPPED;
use crate::limits::{COUNT_BUCKETS, METRICS_UPKEEP, SECONDS_BUCKETS};

/// Why there are no metrics.
#[derive(Debug, Error)]
#[error("cannot install the metrics recorder: {0}")]
pub struct RecorderError(#[from] BuildError);

/// Installs the recorder of this process, or finds the one that is installed.
///
/// # Errors
/// Another recorder is installed.
pub fn install() -> Result<PrometheusHandle, RecorderError> {
    static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_changes".to_owned()), COUNT_BUCKETS)?
        .install_recorder()?;
    Ok(installed.insert(handle).clone())
}

/// Folds histograms and counts dropped log lines, until it is dropped.
pub async fn keep_up(handle: PrometheusHandle, dropped: Option<ErrorCounter>) {
    let mut ticks = tokio::time::interval(METRICS_UPKEEP);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
        if let Some(dropped) = &dropped {
            counter!(LOG_LINES_DROPPED).absolute(dropped.dropped_lines() as u64);
        }
    }
}
