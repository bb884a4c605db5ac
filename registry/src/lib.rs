//! Who exists and who holds them: the registry of devices and sessions, replicated through Raft.
//!
//! Device streams and calls do not live here. `openraft` appears only in [`raft`], `sled` only in [`storage`].

pub mod codec;
pub mod handle;
pub mod limits;
pub mod metrics;
pub mod model;
pub mod raft;
pub mod routes;
pub mod storage;

pub use handle::{ApplyObserver, ChangeError, Opened, ReadError, Registrar};
pub use routes::Routes;
