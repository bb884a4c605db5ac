//! Connections between all who speak with each other, plain or by TLS, at both ends.
//!
//! The only door to rustls. Nothing here knows of devices, calls or consensus.

mod access;
mod age;
mod certificate;
mod client;
mod connection;
mod connector;
mod error;
mod files;
mod gate;
mod handshakes;
mod incoming;
mod kept;
pub mod limits;
pub mod metrics;
mod nodes_only;
mod pinned;
mod proxied;
mod server;
mod token;
mod turns;
mod unsent;

pub use access::{Access, AccessFiles, AuthorizedChannel};
pub use certificate::PeerCertificate;
pub use client::{ClientFiles, ClientTls, Trust};
pub use connection::{Connection, Peer};
pub use connector::Connector;
pub use error::TlsError;
pub use files::IdentityFiles;
pub use gate::{AddressLimits, Gate};
pub use incoming::{Entry, Incoming, incoming};
pub use kept::{Kept, Made, Source};
pub use proxied::TrustedProxies;
pub use server::{Clients, Protocols, ServerFiles, ServerTls};
pub use unsent::is_unsent;
