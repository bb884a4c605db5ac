//! The commands about the cluster and its nodes.

use rollcall_proto::storage as proto;

use super::{
    CodecError,
    fields::*,
    record_commands::{registration_from_proto, registration_to_proto},
};
use crate::model::{
    command::{
        AdmitNode, FoundCluster, FoundingMember, NodeDown, NodeDownReason, NodeDraining, NodeUp, RaiseLevel,
        RemoveNode, SetSuffrage, Suffrage,
    },
    feature_level::FeatureLevel,
    ids::{BootCounter, Incarnation, NodeId, Registration, UnixMillis},
};

pub(super) fn found_cluster_to_proto(found: &FoundCluster) -> proto::FoundCluster {
    let member = |member: &FoundingMember| proto::FoundingMember {
        node_id: member.node.0,
        name: member.name.to_string(),
        storage_id: bytes_to_proto(&member.storage.to_bytes()),
        addresses: Some(addresses_to_proto(&member.addresses)),
    };
    proto::FoundCluster {
        cluster_id: bytes_to_proto(&found.cluster_id.to_bytes()),
        members: found.members.iter().map(member).collect(),
        token_key: bytes_to_proto(&found.token_key),
        epoch_base: found.epoch_base,
        registration: registration_to_proto(found.registration).into(),
    }
}

pub(super) fn found_cluster_from_proto(found: proto::FoundCluster) -> Result<FoundCluster, CodecError> {
    let member = |member: proto::FoundingMember| {
        Ok(FoundingMember {
            node: NodeId(member.node_id),
            name: member.name.into(),
            storage: storage_id_from_proto(&member.storage_id)?,
            addresses: addresses_from_proto(member.addresses),
        })
    };
    Ok(FoundCluster {
        cluster_id: cluster_id_from_proto(&found.cluster_id)?,
        members: found.members.into_iter().map(member).collect::<Result<_, CodecError>>()?,
        token_key: token_key_from_proto(&found.token_key)?,
        epoch_base: found.epoch_base,
        registration: registration_from_proto(found.registration)?.unwrap_or_default(),
    })
}

pub(super) fn admit_node_to_proto(admit: &AdmitNode) -> proto::AdmitNode {
    proto::AdmitNode {
        name: admit.name.to_string(),
        storage_id: bytes_to_proto(&admit.storage.to_bytes()),
        addresses: Some(addresses_to_proto(&admit.addresses)),
        feature_level: admit.feature_level.0,
    }
}

pub(super) fn admit_node_from_proto(admit: proto::AdmitNode) -> Result<AdmitNode, CodecError> {
    Ok(AdmitNode {
        name: admit.name.into(),
        storage: storage_id_from_proto(&admit.storage_id)?,
        addresses: addresses_from_proto(admit.addresses),
        feature_level: FeatureLevel(admit.feature_level),
    })
}

pub(super) fn node_up_to_proto(up: &NodeUp) -> proto::NodeUp {
    proto::NodeUp {
        node_id: up.node.0,
        storage_id: bytes_to_proto(&up.storage.to_bytes()),
        boot_counter: up.boot.0,
        registration: up.registration.0,
        addresses: Some(addresses_to_proto(&up.addresses)),
        version: up.version.to_string(),
        at_unix_ms: up.at.0,
        feature_level: up.feature_level.0,
    }
}

pub(super) fn node_up_from_proto(up: proto::NodeUp) -> Result<NodeUp, CodecError> {
    Ok(NodeUp {
        node: NodeId(up.node_id),
        storage: storage_id_from_proto(&up.storage_id)?,
        boot: BootCounter(up.boot_counter),
        registration: Registration(up.registration),
        addresses: addresses_from_proto(up.addresses),
        version: up.version.into(),
        at: UnixMillis(up.at_unix_ms),
        feature_level: FeatureLevel(up.feature_level),
    })
}

pub(super) fn node_down_to_proto(down: &NodeDown) -> proto::NodeDown {
    let reason = match down.reason {
        NodeDownReason::LeaseLapsed => proto::NodeDownReason::LeaseLapsed,
        NodeDownReason::Stopped => proto::NodeDownReason::Stopped,
    };
    proto::NodeDown {
        node_id: down.node.0,
        incarnation: down.incarnation.0,
        reason: reason.into(),
        floor: down.floor.map(log_floor_to_proto),
        at_unix_ms: down.at.0,
    }
}

pub(super) fn node_down_from_proto(down: proto::NodeDown) -> Result<NodeDown, CodecError> {
    let reason = match proto::NodeDownReason::try_from(down.reason) {
        Ok(proto::NodeDownReason::LeaseLapsed) => NodeDownReason::LeaseLapsed,
        Ok(proto::NodeDownReason::Stopped) => NodeDownReason::Stopped,
        Ok(proto::NodeDownReason::Unspecified) => return Err(CodecError::Missing("a reason")),
        Err(_) => return Err(CodecError::UnknownKind("a reason")),
    };
    Ok(NodeDown {
        node: NodeId(down.node_id),
        incarnation: Incarnation(down.incarnation),
        reason,
        at: UnixMillis(down.at_unix_ms),
        floor: down.floor.map(log_floor_from_proto),
    })
}

pub(super) fn remove_node_to_proto(remove: &RemoveNode) -> proto::RemoveNode {
    proto::RemoveNode { node_id: remove.node.0, at_unix_ms: remove.at.0 }
}

pub(super) fn remove_node_from_proto(remove: &proto::RemoveNode) -> RemoveNode {
    RemoveNode { node: NodeId(remove.node_id), at: UnixMillis(remove.at_unix_ms) }
}

pub(super) fn node_draining_to_proto(draining: &NodeDraining) -> proto::NodeDraining {
    proto::NodeDraining {
        node_id: draining.node.0,
        incarnation: draining.incarnation.0,
        provided: draining.provided.iter().map(life_to_proto).collect(),
    }
}

pub(super) fn node_draining_from_proto(draining: &proto::NodeDraining) -> NodeDraining {
    NodeDraining {
        node: NodeId(draining.node_id),
        incarnation: Incarnation(draining.incarnation),
        provided: draining.provided.iter().map(life_from_proto).collect(),
    }
}

fn life_to_proto((node, incarnation): &(NodeId, Incarnation)) -> proto::NodeLife {
    proto::NodeLife { node_id: node.0, incarnation: incarnation.0 }
}

fn life_from_proto(life: &proto::NodeLife) -> (NodeId, Incarnation) {
    (NodeId(life.node_id), Incarnation(life.incarnation))
}

pub(super) fn raise_level_to_proto(raise: &RaiseLevel) -> proto::RaiseLevel {
    proto::RaiseLevel { level: raise.level.0, members: raise.members.iter().map(life_to_proto).collect() }
}

pub(super) fn raise_level_from_proto(raise: &proto::RaiseLevel) -> RaiseLevel {
    RaiseLevel {
        level: FeatureLevel(raise.level),
        members: raise.members.iter().map(life_from_proto).collect(),
    }
}

pub(super) fn set_suffrage_to_proto(set: &SetSuffrage) -> proto::SetSuffrage {
    let suffrage = match set.suffrage {
        Suffrage::Automatic => proto::Suffrage::Automatic,
        Suffrage::Withheld => proto::Suffrage::Withheld,
    };
    proto::SetSuffrage { node_id: set.node.0, suffrage: suffrage.into() }
}

pub(super) fn set_suffrage_from_proto(set: proto::SetSuffrage) -> Result<SetSuffrage, CodecError> {
    let suffrage = match proto::Suffrage::try_from(set.suffrage) {
        Ok(proto::Suffrage::Automatic) => Suffrage::Automatic,
        Ok(proto::Suffrage::Withheld) => Suffrage::Withheld,
        Ok(proto::Suffrage::Unspecified) => return Err(CodecError::Missing("a suffrage")),
        Err(_) => return Err(CodecError::UnknownKind("a suffrage")),
    };
    Ok(SetSuffrage { node: NodeId(set.node_id), suffrage })
}
