//! A command: which of them it is.

use rollcall_proto::storage::{self as proto, command::Kind};

use super::{
    CodecError, access_rules, batch, group_policies as groups, node_commands as nodes, pack,
    record_commands as records, unpack,
};
use crate::model::{command::Command, feature_level::FeatureLevel};

/// A command as it is written to the log of a cluster at this level.
pub fn command_to_proto(command: &Command, level: FeatureLevel) -> proto::Command {
    let kind = match command {
        Command::FoundCluster(found) => Kind::FoundCluster(nodes::found_cluster_to_proto(found)),
        Command::AdmitNode(admit) => Kind::AdmitNode(nodes::admit_node_to_proto(admit)),
        Command::NodeUp(up) => Kind::NodeUp(nodes::node_up_to_proto(up)),
        Command::NodeDown(down) => Kind::NodeDown(nodes::node_down_to_proto(down)),
        Command::NodeDraining(draining) => Kind::NodeDraining(nodes::node_draining_to_proto(draining)),
        Command::Batch(batch) if level >= FeatureLevel::PACKED_BATCHES => {
            Kind::PackedBatch(pack::packed_batch_to_proto(batch))
        }
        Command::Batch(batch) => Kind::Batch(batch::batch_to_proto(batch)),
        Command::RemoveNode(remove) => Kind::RemoveNode(nodes::remove_node_to_proto(remove)),
        Command::SetSuffrage(set) => Kind::SetSuffrage(nodes::set_suffrage_to_proto(set)),
        Command::PutDevice(put) => Kind::PutDevice(records::put_device_to_proto(put)),
        Command::DeleteDevice(delete) => Kind::DeleteDevice(records::delete_device_to_proto(delete)),
        Command::SetPolicy(set) => Kind::SetPolicy(records::set_policy_to_proto(set)),
        Command::SetGroupPolicy(set) => Kind::SetGroupPolicy(groups::set_group_policy_to_proto(set)),
        Command::SetAccessRules(set) => Kind::SetAccessRules(access_rules::set_access_rules_to_proto(set)),
        Command::RaiseLevel(raise) => Kind::RaiseLevel(nodes::raise_level_to_proto(raise)),
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
        Kind::SetAccessRules(set) => Command::SetAccessRules(access_rules::set_access_rules_from_proto(set)?),
        Kind::RaiseLevel(raise) => Command::RaiseLevel(nodes::raise_level_from_proto(&raise)),
        Kind::RemoveExpired(expired) => Command::RemoveExpired(records::remove_expired_from_proto(expired)),
        Kind::Sweep(sweep) => Command::Sweep(records::sweep_from_proto(sweep)?),
    })
}

/// The level that a node must know to read a command in this form, and that the cluster must be at before it is written. Of the
/// command that raises the level: the level to which it does.
pub fn level_of(command: &proto::Command) -> FeatureLevel {
    match &command.kind {
        Some(Kind::PackedBatch(_)) => FeatureLevel::PACKED_BATCHES,
        Some(Kind::SetGroupPolicy(_)) => FeatureLevel::GROUP_POLICIES,
        Some(Kind::SetAccessRules(_)) => FeatureLevel::ACCESS_RULES,
        Some(Kind::RaiseLevel(raise)) => FeatureLevel(raise.level),
        Some(
            Kind::FoundCluster(_)
            | Kind::AdmitNode(_)
            | Kind::NodeUp(_)
            | Kind::NodeDown(_)
            | Kind::NodeDraining(_)
            | Kind::Batch(_)
            | Kind::PutDevice(_)
            | Kind::DeleteDevice(_)
            | Kind::SetPolicy(_)
            | Kind::RemoveExpired(_)
            | Kind::Sweep(_)
            | Kind::RemoveNode(_)
            | Kind::SetSuffrage(_),
        )
        | None => FeatureLevel::FIRST,
    }
}
