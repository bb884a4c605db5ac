//! The stage on which rows of the failure matrix play: a healed cluster with devices, callers, and a journal of it all.

mod door;
mod fresh;
mod ground;
mod judge;
mod load;
mod pending;
mod prober;
mod scene;

pub use door::Doors;
pub use fresh::Fresh;
pub use ground::Ground;
pub(crate) use ground::LEVEL_BEFORE;
pub(crate) use load::ending as caller_ending;
pub use load::{Load, LoadPlan};
pub(crate) use pending::pending_tables;
pub use prober::{connect, connect_pause};
pub use scene::{GROUP, Stage, nap};
