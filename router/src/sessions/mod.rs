//! Devices that are connected to this node, whatever the transport: frames in, frames out. Placement does not live here.

mod admitting;
pub(crate) mod after;
pub(crate) mod announcer;
pub(crate) mod connection;
pub(crate) mod device_connection;
pub(crate) mod device_sessions;
pub(crate) mod ending;
pub(crate) mod group_load;
pub(crate) mod host;
mod in_force;
pub(crate) mod live;
pub(crate) mod observer;
pub(crate) mod opening;
pub(crate) mod outgoing;
pub(crate) mod profile;
pub(crate) mod shared_runs;
pub(crate) mod shown;
pub(crate) mod sites;
pub(crate) mod slot;
mod slot_health;
pub(crate) mod state;
pub(crate) mod sweeper;
pub(crate) mod table;
pub(crate) mod ticket;
pub(crate) mod token;
