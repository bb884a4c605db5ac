//! A command: which of them it is.

use rollcall_proto::storage::{self as proto, command::Kind};

use super::{
    CodecError, batch, group_policies as groups, node_commands as nodes, pack, record_commands as records,
    unpack,
};
use crate::model::command::Command;

/// A command as it is written to the log.
pub fn command_to_proto(command: &Command) -> proto::Command {
    let kind = match command {
        Command::FoundCluster(found) => Kind::FoundCluster(nodes::found_cluster_to_proto(found)),
        Command::AdmitNode(admit) => Kind::AdmitNode(nodes::admit_node_to_proto(admit)),
        Command::NodeUp(up) => Kind::NodeUp(nodes::node_up_to_proto(up)),
        Command::NodeDown(down) => Kind::NodeDown(nodes::node_down_to_proto(down)),
        Command::NodeDraining(draining) => Kind::NodeDraining(nodes::node_draining_to_proto(draining)),
        Command::Batch(batch) => Kind::PackedBatch(pack::packed_batch_to_proto(batch)),
        Command::RemoveNode(remove) => Kind::RemoveNode(nodes::remove_node_to_proto(remove)),
        Command::SetSuffrage(set) => Kind::SetSuffrage(nodes::set_suffrage_to_proto(set)),
        Command::PutDevice(put) => Kind::PutDevice(records::put_device_to_proto(put)),
        Command::DeleteDevice(delete) => Kind::DeleteDevice(records::delete_device_to_proto(delete)),
        Command::SetPolicy(set) => Kind::SetPolicy(records::set_policy_to_proto(set)),
        Command::SetGroupPolicy(set) => Kind::SetGroupPolicy(groups::set_group_policy_to_proto(set)),
        Command::RemoveExpired(expired) => Kind::RemoveExpired(records::remove_expired_to_proto(expired)),
        Command::Sweep(sweep) => Kind::Sweep(records::sweep_to_proto(sweep)),
    };
    proto::Command { kind: Some(kind) }
}

/// A command as it was written to the log.
///
/// # Errors
/// Of a kind that this version does not know, or damaged: see [`CodecError`]. It must not be skipped.
pub fn command_from_proto(command: proto::Command) -> Result<Command, CodecError> {
    Ok(match command.kind.ok_or(CodecError::UnknownKind("a command"))? {
        Kind::FoundCluster(found) => Command::FoundCluster(nodes::found_cluster_from_proto(found)?),
        Kind::AdmitNode(admit) => Command::AdmitNode(nodes::admit_node_from_proto(admit)?),
        Kind::NodeUp(up) => Command::NodeUp(nodes::node_up_from_proto(up)?),
        Kind::NodeDown(down) => Command::NodeDown(nodes::node_down_from_proto(down)?),
        Kind::NodeDraining(draining) => Command::NodeDraining(nodes::node_draining_from_proto(&draining)),
        Kind::Batch(batch) => Command::Batch(batch::batch_from_proto(batch)?),
        Kind::PackedBatch(batch) => Command::Batch(unpack::packed_batch_from_proto(&batch)?),
        Kind::RemoveNode(remove) => Command::RemoveNode(nodes::remove_node_from_proto(&remove)),
        Kind::SetSuffrage(set) => Command::SetSuffrage(nodes::set_suffrage_from_proto(set)?),
        Kind::PutDevice(put) => Command::PutDevice(records::put_device_from_proto(put)?),
        Kind::DeleteDevice(delete) => Command::DeleteDevice(records::delete_device_from_proto(delete)?),
        Kind::SetPolicy(set) => Command::SetPolicy(records::set_policy_from_proto(set)?),
        Kind::SetGroupPolicy(set) => Command::SetGroupPolicy(groups::set_group_policy_from_proto(set)),
        Kind::RemoveExpired(expired) => Command::RemoveExpired(records::remove_expired_from_proto(expired)),
        Kind::Sweep(sweep) => Command::Sweep(records::sweep_from_proto(sweep)?),
    })
}
