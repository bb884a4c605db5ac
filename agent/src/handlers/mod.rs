//! The handlers of the binary (`echo`, `exec:COMMAND`, `http://…`, `block`), and the one that every agent has.

pub mod block;
pub mod echo;
pub mod exec;
pub mod health;
pub mod http;

use std::sync::Arc;

pub use self::{block::Block, echo::Echo, exec::Exec, health::Health, http::Http};
use crate::handler::AnyHandler;

/// A handler as the command line names it.
#[derive(Clone)]
pub struct Chosen(pub(crate) Arc<dyn AnyHandler>);

/// Why a handler's text means none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHandler {
    /// No handler begins like this.
    #[error("{0:?} is no handler: use echo, exec:COMMAND, http://HOST[:PORT]/PATH or block")]
    Unknown(String),
    /// The command cannot be split into words.
    #[error("exec: {0}")]
    Command(String),
    /// The URL cannot be used.
    #[error("{0:?} is not of the form http://HOST[:PORT]/PATH")]
    Url(String),
}

/// The handler that a text names.
///
/// # Errors
/// If it names none, or one whose command or URL cannot be used.
pub fn parse(text: &str) -> Result<Chosen, InvalidHandler> {
    if text == "echo" {
        return Ok(Chosen(Arc::new(Echo)));
    }
    if text == "block" {
        return Ok(Chosen(Arc::new(Block)));
    }
    if let Some(command) = text.strip_prefix("exec:") {
        return Ok(Chosen(Arc::new(Exec::parse(command)?)));
    }
    if text.starts_with("http://") {
        return Ok(Chosen(Arc::new(Http::parse(text)?)));
    }
    Err(InvalidHandler::Unknown(text.to_owned()))
}
