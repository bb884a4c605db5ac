//! Log lines to stderr, through a bounded queue: when stderr is slow, lines are dropped and counted, nobody waits.

use std::{
    io::{self, IsTerminal},
    sync::{Mutex, OnceLock, PoisonError},
};

use thiserror::Error;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, filter::ParseError, reload, util::SubscriberInitExt};

use crate::{
    config::{LogFormat, LogSettings},
    limits::LOG_LINES,
};

/// Why there is no log.
#[derive(Debug, Error)]
pub enum LoggingError {
    /// The filter is not one.
    #[error("log_level: {0}")]
    Filter(#[from] ParseError),
    /// A subscriber is installed already.
    #[error("cannot install the log: {0}")]
    Installed(#[from] tracing_subscriber::util::TryInitError),
    /// There is no log whose filter could be changed.
    #[error("this process has no log")]
    None,
    /// The log is gone.
    #[error("cannot change the log: {0}")]
    Gone(#[from] reload::Error),
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
    let filter = parse(&settings.filter)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let change: Change = match settings.format {
        LogFormat::Text => {
            let lines = lines.with_ansi(io::stderr().is_terminal()).with_filter_reloading();
            let handle = lines.reload_handle();
            lines.finish().try_init()?;
            Box::new(move |filter| handle.reload(filter))
        }
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_filter_reloading();
            let handle = lines.reload_handle();
            lines.finish().try_init()?;
            Box::new(move |filter| handle.reload(filter))
        }
    };
    let control = Control { filter: Mutex::new(settings.filter.clone()), change };
    // A second log of a process was refused above.
    drop(CONTROL.set(control));
    Ok(LogGuard { _worker: worker, dropped })
}

type Change = Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

/// What changes the filter of this process' log.
struct Control {
    filter: Mutex<String>,
    change: Change,
}

static CONTROL: OnceLock<Control> = OnceLock::new();

/// What this process logs, as it was last told; empty: it has no log.
pub fn filter() -> String {
    let control = CONTROL.get();
    control
        .map(|control| control.filter.lock().unwrap_or_else(PoisonError::into_inner).clone())
        .unwrap_or_default()
}

/// Changes what this process logs from now on.
///
/// # Errors
/// See [`LoggingError`].
pub fn set_filter(filter: &str) -> Result<(), LoggingError> {
    let parsed = parse(filter)?;
    let control = CONTROL.get().ok_or(LoggingError::None)?;
    let mut current = control.filter.lock().unwrap_or_else(PoisonError::into_inner);
    (control.change)(parsed)?;
    filter.clone_into(&mut current);
    Ok(())
}

fn parse(filter: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(directives(filter))
}

/// `info` alone leaves out what openraft says of its inner steps, and that it does not reach a node, which it says ten times a
/// second: the registry says once that the node is down.
fn directives(filter: &str) -> &str {
    if filter == "info" { "info,openraft=error" } else { filter }
}
