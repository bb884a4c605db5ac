//! Calls: where each of them goes, how it reaches its device on whichever node, and what is known when it fails.
//!
//! Consensus and listeners do not live here. [`Router`] is the way in; `core` decides, `sessions` talks with devices,
//! `links` with peers, `dispatch` leads a call from its arrival to its end.

pub mod broadcast;
pub mod call;
pub mod config;
mod core;
mod delivery;
mod dispatch;
pub mod limits;
mod links;
mod measure;
mod metrics;
pub mod outcome;
mod payload;
pub mod router;
mod sessions;

pub use broadcast::{Broadcast, BroadcastEvent, Started, Summary};
pub use call::{Call, Reply, Timings};
pub use config::{Isolation, RouterConfig};
pub use core::balance::Balance;
pub use dispatch::pipeline::{CallFacts, Ended, Pipeline};
pub use links::view::LinkView;
pub use outcome::{Failure, Fault, Outcome, Reason, Stage};
pub use router::Router;
pub use sessions::{departing::Departing, device_connection::DeviceConnection, outgoing::Outgoing};
