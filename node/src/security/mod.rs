//! Who comes in: certificates of the listeners and of dials to peers, their renewal, and whose name a peer may use.

mod certificates;
mod peer_names;
mod renewal;

pub use certificates::{Certificates, SecurityError, access};
pub(crate) use peer_names::PeerNames;
pub(crate) use renewal::refresh_access;
