//! A failed call as a program reads it: the status code and the one `google.rpc.ErrorInfo`.

use std::collections::HashMap;

use anyhow::{Context, bail, ensure};
use tonic::{Code, Status};
use tonic_types::{ErrorDetail, StatusExt};

/// Why a call was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The status code.
    pub code: Code,
    /// The reason's name, without prefix.
    pub reason: String,
    /// What is known about the execution.
    pub outcome: String,
    /// All of the error's metadata, the outcome included.
    pub metadata: HashMap<String, String>,
    /// Whether the node says when to try again.
    pub retry_info: bool,
}

impl Refused {
    /// Code, reason and outcome at once, for comparing.
    pub fn brief(&self) -> (Code, &str, &str) {
        (self.code, &self.reason, &self.outcome)
    }
}

/// Reads the error of a call that must have failed.
///
/// # Errors
/// The call succeeded, or its error does not keep the contract: exactly one `ErrorInfo` of domain `rollcall`.
pub fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> anyhow::Result<Refused> {
    let status = match answer {
        Ok(answer) => bail!("it succeeded: {answer:?}"),
        Err(status) => status,
    };
    let details = status.check_error_details_vec().context("the details cannot be read")?;
    let infos: Vec<_> = details
        .iter()
        .filter_map(|detail| match detail {
            ErrorDetail::ErrorInfo(info) => Some(info),
            _ => None,
        })
        .collect();
    ensure!(infos.len() == 1, "{} ErrorInfo in {status:?}", infos.len());
    ensure!(infos[0].domain == "rollcall", "the domain is {:?}", infos[0].domain);
    Ok(Refused {
        code: status.code(),
        reason: infos[0].reason.clone(),
        outcome: infos[0].metadata.get("outcome").cloned().unwrap_or_default(),
        metadata: infos[0].metadata.clone(),
        retry_info: details.iter().any(|detail| matches!(detail, ErrorDetail::RetryInfo(_))),
    })
}
