//! Real clusters of real processes: the harness that the tests in `tests/` tell their stories with.
//!
//! It builds the programs it tests, starts them on loopback ports with data folders of their own, speaks to them by
//! their public contracts only, and cleans up after itself. It knows nothing of the programs' insides; what a node
//! believes is asked of the node.

mod agents;
mod api;
mod binaries;
mod certificates;
mod cli;
mod cluster;
mod disk;
mod failure;
mod faults;
pub mod history;
mod http;
pub mod invariants;
mod limits;
mod member;
mod network;
mod node;
mod plain_device;
mod plan;
pub mod planted;
mod ports;
mod process;
mod proxy;
mod python;
mod raw_device;
pub mod raw_http2;
pub mod results;
pub mod rows;
mod scratch;
mod shared;
pub mod stage;
pub mod tokens;
mod turn;
mod wait;
mod warden;

pub use agents::{AgentProcess, Lab, LabDevice};
pub use api::{Api, call};
pub use binaries::{Binaries, binaries, binaries_with_faults, build_under_test};
pub use certificates::Certificates;
pub use cli::{Cli, Ran};
pub use cluster::Cluster;
pub use disk::SmallDisk;
pub use failure::{Refused, refusal};
pub use limits::*;
pub use member::{as_member, propose};
pub use network::{Host, Loss, Network};
pub use node::{Addresses, Node};
pub use plain_device::PlainDevice;
pub use plan::ClusterPlan;
pub use process::Process;
pub use proxy::{Pass, Proxy};
pub use python::python_with_grpc;
pub use raw_device::{RawDevice, RawProfile};
pub use scratch::Scratch;
pub use shared::{SharedCluster, Visit};
pub use wait::wait_until;
