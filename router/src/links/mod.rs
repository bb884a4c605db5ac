//! Between nodes: a few multiplexed streams to each peer. Whoever reads one never waits for a device.

pub(crate) mod dialer;
pub(crate) mod hints;
pub(crate) mod inbound;
pub(crate) mod outbound;
mod outbound_state;
pub(crate) mod packets;
pub(crate) mod peer;
pub(crate) mod peers;
pub(crate) mod pending;
pub(crate) mod service;
pub(crate) mod view;
pub(crate) mod wire;
