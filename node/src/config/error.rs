//! What can be wrong with the configuration, said so that it can be put right: key, source, problem, what is allowed.

use std::{fmt, io, path::PathBuf};

use thiserror::Error;

use super::Source;

/// A value that its setting does not take.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{problem} (allowed: {allowed})")]
pub struct BadValue {
    /// What is wrong with it.
    pub problem: String,
    /// What would be right.
    pub allowed: &'static str,
}

impl BadValue {
    /// A problem, and what would be right.
    pub fn new(problem: impl Into<String>, allowed: &'static str) -> Self {
        Self { problem: problem.into(), allowed }
    }
}

/// Why there are no settings.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The configuration file cannot be read.
    #[error("cannot read the configuration file {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The configuration file is not TOML.
    #[error("the configuration file {path} is not valid TOML: {problem}")]
    NotToml {
        /// The file.
        path: PathBuf,
        /// What the parser said, with the line.
        problem: String,
    },
    /// No setting has this name.
    #[error("unknown setting `{name}` in {place}{}", hint(.nearest))]
    Unknown {
        /// The name, as it was written.
        name: String,
        /// Where it was written.
        place: String,
        /// The nearest name that there is, in the same spelling.
        nearest: Option<String>,
    },
    /// A setting does not take its value.
    #[error("{key} = `{value}` from {origin}: {bad}")]
    Value {
        /// The setting.
        key: &'static str,
        /// The value, as it was written.
        value: String,
        /// Where it was written.
        origin: Source,
        /// What is wrong.
        bad: BadValue,
    },
    /// Two settings do not go together.
    #[error("{left} does not go with {right}: {rule}")]
    Conflict {
        /// One setting.
        left: Box<Written>,
        /// The other setting.
        right: Box<Written>,
        /// The rule they break.
        rule: &'static str,
    },
}

/// A setting as it was written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The setting.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// Where it was written.
    pub origin: Source,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = `{}` from {}", self.key, self.value, self.origin)
    }
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}
