//! The shell around the core: one task that owns its state, the connections' readers, and the handlers' tasks.
//!
//! The worker never waits for a handler or for a connection to take a frame.

mod dial;
mod run;
mod shell;

pub(crate) use shell::{Command, Told, Worker};
