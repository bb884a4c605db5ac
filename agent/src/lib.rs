//! The device side of Rollcall: holds a device's connection to a cluster and runs its handlers.
//!
//! Nothing of the server's lives here. The protocol is told in `agent/docs/protocol.md`.
//!
//! ```no_run
//! use rollcall_agent::{Agent, Call, Reply};
//!
//! #[tokio::main]
//! async fn main() {
//!     let agent = Agent::builder(["http://127.0.0.1:7401", "http://127.0.0.1:7411"])
//!         .device("phone-1")
//!         .group("sign")
//!         .label("site", "hz1")
//!         .capacity(4)
//!         .action("echo", |call: Call| async move { Ok(Reply::from(call.payload)) })
//!         .start();
//!     tokio::signal::ctrl_c().await.ok();
//!     agent.shutdown().await;
//! }
//! ```
//!
//! Several devices share one connection as a [`Site`]:
//!
//! ```no_run
//! # use rollcall_agent::{Call, Device, Reply, Site};
//! # async fn run() {
//! let phone = |id: &str| {
//!     Device::new(id).group("sign").action("echo", |call: Call| async move { Ok(Reply::from(call.payload)) })
//! };
//! let site = Site::builder(["http://127.0.0.1:7401"]).device(phone("phone-1")).device(phone("phone-2")).start();
//! # site.shutdown().await;
//! # }
//! ```

mod agent;
mod call;
pub mod cli;
mod core;
mod device;
mod handler;
pub mod handlers;
pub mod limits;
mod outbox;
mod report;
mod site;
mod state;
mod stats;
mod worker;

pub use agent::{Agent, AgentBuilder, AgentHandle};
pub use call::{Call, HandlerError, Reply};
pub use device::{Device, InvalidDevice};
pub use handler::Handler;
pub use rollcall_proto::device::CloseCode;
pub use rollcall_transport::{Access, AccessFiles, IdentityFiles, TlsError};
pub use site::{Site, SiteBuilder, SiteHandle};
pub use state::{AgentState, StopReason};
pub use stats::ConnectionStats;
