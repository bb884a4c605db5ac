//! The stage on which rows of the failure matrix play: a healed cluster with devices, callers, and a journal of it all.

mod ground;
mod judge;
mod load;
mod prober;
mod scene;

pub use ground::Ground;
pub use load::{Load, LoadPlan};
pub use prober::connect_pause;
pub use scene::{GROUP, Stage, nap};
