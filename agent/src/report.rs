//! State changes as log lines that a field engineer can read.

use std::time::Duration;

use crate::state::{AgentState, StopReason};

/// Logs a device's new state.
pub(crate) fn report(namespace: &str, device: &str, state: &AgentState) {
    match state {
        AgentState::Connecting { server } => tracing::info!(namespace, device, server, "connecting"),
        AgentState::Attached { node, epoch } => tracing::info!(namespace, device, node, epoch, "attached"),
        AgentState::Refused { code, message, retry_in } => {
            let code = code.as_str_name().trim_start_matches("CLOSE_CODE_");
            let retry_in = rounded(*retry_in);
            tracing::warn!(namespace, device, code, reason = message, ?retry_in, "no session; trying again");
        }
        AgentState::Waiting { why, retry_in } => {
            let retry_in = rounded(*retry_in);
            tracing::warn!(namespace, device, reason = why, ?retry_in, "no connection; trying again");
        }
        AgentState::Stopped(StopReason::Shutdown) => tracing::info!(namespace, device, "stopped"),
        AgentState::Stopped(reason) => tracing::error!(namespace, device, %reason, "stopped for good"),
    }
}

/// Logs that a device has its connection again.
pub(crate) fn returned(namespace: &str, device: &str, away: Duration, resumed: bool, results: usize) {
    let away = rounded(away);
    let session = if resumed { "the former one goes on" } else { "a new one" };
    tracing::info!(namespace, device, ?away, session, results_sent_again = results, "back");
}

/// To the millisecond: nobody reads further.
fn rounded(wait: Duration) -> Duration {
    Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}
