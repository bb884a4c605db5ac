//! Log lines to stderr, through a bounded queue: when stderr is slow, lines are dropped and counted, nobody waits.

use std::io::{self, IsTerminal};

use thiserror::Error;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, util::SubscriberInitExt};

use crate::{
    config::{LogFormat, LogSettings},
    limits::LOG_LINES,
};

/// Why there is no log.
#[derive(Debug, Error)]
pub enum LoggingError {
    /// The filter is not one.
    #[error("log_level: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// A subscriber is installed already.
    #[error("cannot install the log: {0}")]
    Installed(#[from] tracing_subscriber::util::TryInitError),
}

/// Keeps the log's writer; dropping it writes what still waits, for a second at most.
pub struct LogGuard {
    _worker: WorkerGuard,
    dropped: ErrorCounter,
}

impl LogGuard {
    /// Counts the lines that were dropped.
    pub fn dropped_lines(&self) -> ErrorCounter {
        self.dropped.clone()
    }
}

/// Installs the log of this process.
///
/// # Errors
/// See [`LoggingError`].
pub fn install(settings: &LogSettings) -> Result<LogGuard, LoggingError> {
    let (writer, worker) = NonBlockingBuilder::default()
        .buffered_lines_limit(LOG_LINES)
        .lossy(true)
        .thread_name("log")
        .finish(io::stderr());
    let dropped = writer.error_counter();
    let filter = EnvFilter::builder().parse(directives(&settings.filter))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match settings.format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).finish().try_init()?,
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init()?,
    }
    Ok(LogGuard { _worker: worker, dropped })
}

/// `info` alone leaves out what openraft says of its inner steps, and that it does not reach a node, which it says ten times a
/// second: the registry says once that the node is down.
fn directives(filter: &str) -> &str {
    if filter == "info" { "info,openraft=error" } else { filter }
}
