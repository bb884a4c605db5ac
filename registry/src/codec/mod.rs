//! The model in the form in which it is written to the log and to snapshots (`rollcall.storage.v1`), and back.
//!
//! Whatever is read back is checked for what the types cannot say. Nothing in here panics, on any bytes. What a
//! command *may* say is not judged here but by apply: an entry that cannot be read stops the node.

mod access_rules;
mod batch;
mod command;
mod device_rows;
mod error;
mod fields;
mod group_policies;
mod node_commands;
mod pack;
mod profile;
mod record_commands;
mod snapshot_rows;
mod unpack;

pub(crate) use access_rules::{access_rules_from_proto, access_rules_to_proto};
pub use command::{command_from_proto, command_to_proto, level_of};
pub(crate) use device_rows::*;
pub use error::CodecError;
pub(crate) use fields::*;
pub(crate) use group_policies::{group_policy_from_proto, group_policy_to_proto};
pub use profile::{profile_from_proto, profile_to_proto};
pub(crate) use record_commands::{registration_from_proto, registration_to_proto};
pub(crate) use snapshot_rows::*;
