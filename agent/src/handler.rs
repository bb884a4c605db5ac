//! The trait of handlers, and its form without generics that the worker holds.

use std::{future::Future, pin::Pin};

use crate::call::{Call, HandlerError, Reply};

/// Answers the calls of one action.
///
/// Async closures are handlers: `|call: Call| async move { Ok(Reply::from(call.payload)) }`.
///
/// # Cancel safety
/// The future is dropped when the caller gives up or its deadline passes: at an `.await`, at any of them. A handler that
/// blocks its thread cannot be stopped; use `tokio::task::spawn_blocking` for such work. A panic becomes a
/// [`HandlerError`].
pub trait Handler: Send + Sync + 'static {
    /// Answers one call.
    fn handle(&self, call: Call) -> impl Future<Output = Result<Reply, HandlerError>> + Send;
}

impl<F, Fut> Handler for F
where
    F: Fn(Call) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Reply, HandlerError>> + Send,
{
    fn handle(&self, call: Call) -> impl Future<Output = Result<Reply, HandlerError>> + Send {
        self(call)
    }
}

/// A running handler.
pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = Result<Reply, HandlerError>> + Send + 'a>>;

/// [`Handler`] as a trait object.
pub(crate) trait AnyHandler: Send + Sync {
    fn start(&self, call: Call) -> Running<'_>;
}

impl<H: Handler> AnyHandler for H {
    fn start(&self, call: Call) -> Running<'_> {
        Box::pin(self.handle(call))
    }
}
