//! What each command does to the state: one file a command. Nothing in here can fail; a refusal is an answer.

mod admit_node;
mod batch;
mod close;
mod delete_device;
mod found_cluster;
mod node_down;
mod node_draining;
mod node_up;
mod open;
mod put_device;
mod raise_level;
mod remove_expired;
mod remove_node;
mod set_access_rules;
mod set_group_policy;
mod set_policy;
mod set_suffrage;
mod sweep;
mod update;

pub(super) use admit_node::admit_node;
pub(super) use batch::batch;
pub(super) use delete_device::delete_device;
pub(super) use found_cluster::found_cluster;
pub(super) use node_down::node_down;
pub(super) use node_draining::node_draining;
pub(super) use node_up::node_up;
pub(super) use put_device::put_device;
pub(super) use raise_level::raise_level;
pub(super) use remove_expired::remove_expired;
pub(super) use remove_node::remove_node;
pub(super) use set_access_rules::set_access_rules;
pub(super) use set_group_policy::set_group_policy;
pub(super) use set_policy::set_policy;
pub(super) use set_suffrage::set_suffrage;
pub(super) use sweep::sweep;
