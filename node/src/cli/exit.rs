//! How a command fails: in words on stderr, and as an exit code.

use std::{fmt, process::ExitCode};

use rollcall_proto::client::CallError;
use rollcall_registry::backup::BackupError;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{config::ConfigError, lifecycle::ServeError};

/// The documented exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The cluster or the device said no, or a node could not start.
    Refused,
    /// The command line or the configuration is wrong.
    Usage,
    /// No node could be reached.
    Unreachable,
    /// The backup is damaged.
    Damaged,
    /// The node had to stop because of a fault.
    Fault,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Damaged => 4,
            Self::Fault => 70,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Why a command was not done.
#[derive(Debug)]
pub enum CliError {
    /// The configuration is wrong.
    Config(ConfigError),
    /// An argument is wrong in a way that only its use shows.
    Usage(String),
    /// No node could be reached; what was tried, with what came of each.
    Unreachable(Vec<(String, String)>),
    /// A node answered with an error.
    Answer(Box<Status>),
    /// A call failed.
    Call(Box<CallError>),
    /// The node did not start, or had to stop.
    Serve(Box<ServeError>),
    /// A backup, or the folder that it is for.
    Backup(Box<BackupError>),
    /// Input or output failed.
    Io(String),
    /// What the command looked at is not as it should be, or the node of this machine says no.
    Local(Exit, String),
}

impl CliError {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Usage(_) => Exit::Usage,
            Self::Unreachable(_) => Exit::Unreachable,
            Self::Backup(error) if matches!(**error, BackupError::Damaged { .. }) => Exit::Damaged,
            Self::Answer(_) | Self::Call(_) | Self::Backup(_) | Self::Io(_) => Exit::Refused,
            Self::Local(exit, _) => *exit,
            Self::Serve(error) if error.was_serving() => Exit::Fault,
            Self::Serve(_) => Exit::Refused,
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        Self::Answer(Box::new(status))
    }
}

impl From<CallError> for CliError {
    fn from(error: CallError) -> Self {
        Self::Call(Box::new(error))
    }
}

impl From<ServeError> for CliError {
    fn from(error: ServeError) -> Self {
        Self::Serve(Box::new(error))
    }
}

impl From<BackupError> for CliError {
    fn from(error: BackupError) -> Self {
        Self::Backup(Box::new(error))
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// Only `rollcall dev` speaks so.
impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        Self::Io(format!("{error:#}"))
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "{error}"),
            Self::Usage(text) | Self::Io(text) | Self::Local(_, text) => f.write_str(text),
            Self::Unreachable(tried) => {
                f.write_str("no node could be reached")?;
                for (address, problem) in tried {
                    write!(f, "\n  {address}: {problem}")?;
                }
                f.write_str("\n  hint: --addr or ROLLCALL_ADDR names the API address of a node, such as http://host:7400")
            }
            Self::Answer(status) => answer(f, status),
            Self::Call(error) => call(f, error),
            Self::Serve(error) => write!(f, "{error}"),
            Self::Backup(error) => write!(f, "{error}"),
        }
    }
}

/// A status in words: code, reason, outcome, message, facts, hint.
fn answer(f: &mut fmt::Formatter<'_>, status: &Status) -> fmt::Result {
    let details = status.get_error_details();
    let info = details.error_info();
    let fact = |key: &str| info.and_then(|info| info.metadata.get(key)).map(String::as_str);
    write!(f, "{}", code_name(status.code()))?;
    if let Some(info) = info {
        write!(f, " {}", info.reason)?;
    }
    if let Some(outcome) = fact("outcome") {
        write!(f, " ({outcome})")?;
    }
    write!(f, ": {}", status.message())?;
    for key in ["device_id", "node", "stage", "api_addr", "epoch", "etag"] {
        if let Some(value) = fact(key) {
            write!(f, "\n  {key}: {value}")?;
        }
    }
    if let Some(pause) = details.retry_info().and_then(|retry| retry.retry_delay) {
        write!(f, "\n  retry after: {}", humantime::format_duration(pause))?;
    }
    if let Some(hint) = info.and_then(|info| hint(&info.reason, fact("outcome"))) {
        write!(f, "\n  hint: {hint}")?;
    }
    Ok(())
}

/// A failed call in words, as [`answer`] has a status.
fn call(f: &mut fmt::Formatter<'_>, error: &CallError) -> fmt::Result {
    let outcome = error.outcome.as_str_name().trim_start_matches("OUTCOME_");
    write!(f, "{} ", code_name(error.code))?;
    if !error.reason_name.is_empty() {
        write!(f, "{} ", error.reason_name)?;
    }
    write!(f, "({outcome}): {}", error.message)?;
    for (key, value) in [("device_id", &error.device_id), ("node", &error.node), ("stage", &error.stage)] {
        if let Some(value) = value {
            write!(f, "\n  {key}: {value}")?;
        }
    }
    if let Some(pause) = error.retry_after {
        write!(f, "\n  retry after: {}", humantime::format_duration(pause))?;
    }
    if let Some(hint) = hint(&error.reason_name, Some(outcome)) {
        write!(f, "\n  hint: {hint}")?;
    }
    Ok(())
}

/// What to do about a reason.
fn hint(reason: &str, outcome: Option<&str>) -> Option<&'static str> {
    Some(match reason {
        "NO_DEVICE" => {
            "`rollcall devices list --group GROUP` shows which devices are there, with their labels"
        }
        "NOT_CONNECTED" => "`rollcall devices get DEVICE` shows when it is back; --connect-wait waits for it",
        "ACTION_UNKNOWN" => "`rollcall devices list` shows the actions that devices offer",
        "DEVICE_BUSY" | "QUEUE_FULL" => {
            "the device runs as many calls as its capacity allows; more devices or capacity help"
        }
        "HOLDER_UNREACHABLE" | "STALE_ROUTE" => "`rollcall route explain DEVICE` shows the way to it",
        "NO_LEADER" => "`rollcall cluster status` shows whether a quorum of voters is up",
        "CURSOR_TOO_OLD" => "list again, then watch from there",
        "DEADLINE" => "--timeout gives it longer",
        "UNKNOWN_NODE" => "`rollcall nodes list` shows the names",
        "QUORUM_AT_RISK" | "NOT_REACHABLE" | "NO_OTHER_VOTER" => {
            "`rollcall nodes list` shows which nodes are up"
        }
        "CHANGE_IN_PROGRESS" | "NOT_CAUGHT_UP" => "ask again in a few seconds",
        "OUTCOME_UNKNOWN" => "`rollcall nodes list` shows what came of it; asking again completes it",
        "DEVICE_DISABLED" => "`rollcall devices enable DEVICE` lets it back in",
        "DEVICE_EXISTS" => "`rollcall devices update DEVICE` changes a record that is there",
        "ETAG_MISMATCH" => "somebody changed it meanwhile: `rollcall devices get DEVICE`, then decide again",
        _ if outcome == Some("UNKNOWN") => {
            "the device may have executed the call; with --idempotent it is retried"
        }
        _ => return None,
    })
}

/// A code as gRPC spells it.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
