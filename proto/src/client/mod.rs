//! Calling devices from a service in Rust: a channel over several nodes, deadlines, retries where they are safe.
//!
//! Only what a caller decides lives here. What the failures mean, and an example of each call, is in
//! `proto/docs/calling.md`.

mod backoff;
mod broadcast;
mod budget;
mod builder;
mod calls;
mod error;
pub mod limits;
mod line;
mod nodes;
mod retry;
mod stream;

pub use broadcast::{BroadcastItem, BroadcastStream};
pub use budget::RetryBudget;
pub use builder::{BuildError, ClientBuilder};
pub use calls::Client;
pub use error::CallError;
pub use retry::{Verdict, judge};
pub use rollcall_transport::{Access, AccessFiles, IdentityFiles, TlsError};
pub use stream::CallStream;

/// The guide's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/calling.md")]
struct Guide;
