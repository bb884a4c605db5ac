//! The settings of logs.

use tracing_subscriber::EnvFilter;

use super::{BadValue, ConfigError, Layers, table};

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// A filter that `tracing_subscriber::EnvFilter` takes.
    pub filter: String,
    /// How lines are written.
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogSettings {
    pub(super) fn from_layers(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            filter: layers.parsed(&table::LOG_LEVEL, log_filter)?,
            format: layers.parsed(&table::LOG_FORMAT, log_format)?,
        })
    }
}

fn log_filter(text: &str) -> Result<String, BadValue> {
    const ALLOWED: &str =
        "error, warn, info, debug, trace, off, or a filter such as info,rollcall_router=debug";
    let filter = EnvFilter::builder().parse(text);
    filter.map(|_| text.to_owned()).map_err(|error| BadValue::new(error.to_string(), ALLOWED))
}

fn log_format(text: &str) -> Result<LogFormat, BadValue> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(BadValue::new("no such format", "text, json")),
    }
}
