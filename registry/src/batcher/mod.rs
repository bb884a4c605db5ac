//! Gathers this node's opens and closes into numbered batches, one entry in flight, and completes them by local apply.
//!
//! `core` decides, `worker` runs it, `handle` is the way in.

pub mod core;
mod handle;
mod message;
mod worker;

pub use handle::BatcherHandle;
pub(crate) use message::LogNews;
pub(crate) use worker::{EpochOf, Propose, spawn};
