//! What a handler gets and gives: [`Call`], [`Reply`], [`HandlerError`].

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

/// A call that a handler is to answer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Call {
    /// The action that was asked for.
    pub action: String,
    /// What the caller sent. At most as long as the node allows, 16 MiB by default.
    pub payload: Bytes,
    /// The payload's media type; may be empty.
    pub content_type: String,
    /// From the caller.
    pub metadata: HashMap<String, String>,
    /// The caller's name for the call, for logs and de-duplication.
    pub request_id: String,
    /// The group that was called; empty if the device was named.
    pub group: String,
    /// The device's namespace.
    pub namespace: Arc<str>,
    /// The device's id.
    pub device_id: Arc<str>,
    /// The epoch of the session that the call came by.
    pub epoch: u64,
    /// Whether the caller may repeat the call under the same `request_id`.
    pub idempotent: bool,
    /// When the caller stops waiting. The handler is dropped then.
    pub deadline: Option<Instant>,
}

impl Call {
    /// How long the caller still waits; `None` if for ever.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}

/// A handler's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// What the caller gets.
    pub payload: Bytes,
    /// The payload's media type; may be empty.
    pub content_type: String,
    /// To the caller.
    pub metadata: HashMap<String, String>,
}

impl Reply {
    /// The same reply with a media type.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = content_type.into();
        self
    }

    /// The same reply with one more entry of metadata.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }
}

impl<T: Into<Bytes>> From<T> for Reply {
    fn from(payload: T) -> Self {
        Self { payload: payload.into(), ..Self::default() }
    }
}

/// A handler failed: the caller sees `DEVICE_ERROR` with this message, and the call counts as executed.
///
/// Any [`std::error::Error`] becomes one with `?`. The message is cut at 4 KiB.
#[derive(Clone, PartialEq, Eq)]
pub struct HandlerError {
    message: String,
}

impl HandlerError {
    /// A failure with a message for the caller.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }

    /// What the caller sees.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn into_message(self) -> String {
        self.message
    }
}

impl<E: std::error::Error> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::new(error.to_string())
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
