//! A cluster of three registries in one thread, with the machines, disks, clocks and wires that it runs on: one seed decides all
//! that happens, and the same seed does it again.
//!
//! The registries are the real ones, from their services down to the log; what is simulated is what they stand on, by
//! [`rollcall_registry::simulation`]. Real processes and real wires are the business of the cluster tests.

mod chance;
mod clients;
mod cluster;
mod faults;
mod followed;
mod judge;
pub mod limits;
mod machine;
mod network;
mod outcome;
mod run;
mod scenario;
mod trace;
mod world;

pub use outcome::{Coverage, Outcome};
pub use run::run;
pub use scenario::{Planted, Reading, Scenario};
