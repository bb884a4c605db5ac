//! What the tests of a whole node share: a cluster of one in memory, a node over it, a device at the wire.
#![allow(unreachable_pub, reason = "a test binary has no public API")]

pub mod alone;
pub mod device;
pub mod node;
