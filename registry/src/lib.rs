//! Who exists and who holds them: the registry of devices and sessions, replicated through Raft.
//!
//! Device streams and calls do not live here. `openraft` appears only in [`raft`], `sled` only in [`storage`].

mod administration;
pub mod backup;
pub mod batcher;
mod blocking;
mod chance;
pub mod clock;
pub mod codec;
mod fatal;
pub mod faults;
pub mod handle;
pub mod leases;
mod leaving;
pub mod limits;
pub mod membership;
pub mod metrics;
pub mod model;
mod observers;
pub mod raft;
mod registry;
pub mod routes;
#[cfg(feature = "simulation")]
pub mod simulation;
mod start_error;
pub mod storage;

pub use administration::{AdministerError, Administration};
pub use fatal::FatalReason;
pub use handle::{ApplyObserver, ChangeError, Opened, ReadError, Registrar};
pub use membership::change::{MembershipChange, MembershipChanged, MembershipError, Refusal};
pub use observers::{Cursor, Watch, WatchError, WatchItem};
pub use raft::LogBounds;
pub use registry::{ClusterStatus, Registry, RegistryConfig};
pub use routes::Routes;
pub use start_error::StartError;
