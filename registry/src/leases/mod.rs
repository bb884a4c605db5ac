//! Node leases: the leader's table of who beats, and a node's own view of whether it still holds its lease.
//!
//! The leader times beats on its own clock; nothing of it is replicated but a lapse, as one `NodeDown`.

pub mod holder;
pub(crate) mod keeper;
pub mod table;
