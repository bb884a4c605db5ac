//! The registry's model: what is replicated, and how each command changes it. Pure: no clock, I/O or randomness.

mod apply;
pub mod command;
pub mod event;
pub mod feature_level;
pub mod ids;
pub mod invariants;
pub mod policy;
pub mod profile;
pub mod record;
pub mod rejection;
pub mod response;
pub mod snapshot;
pub mod state;
