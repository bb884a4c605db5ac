//! The records of a snapshot: the cluster and its nodes. Devices are in `device_rows`.

use std::sync::Arc;

use rollcall_proto::storage as proto;

use super::{
    CodecError,
    fields::*,
    record_commands::{
        record_ttl_from_proto, record_ttl_to_proto, registration_from_proto, registration_to_proto,
    },
};
use crate::{
    model::{
        command::Suffrage,
        event::BatchOutcome,
        feature_level::FeatureLevel,
        ids::{BatchNumber, BootCounter, Epoch, Incarnation, LogIndex, NodeId, Registration},
        policy::Policy,
        rejection::ChangeRejection,
        state::{Cluster, Node},
    },
    routes::view::NodeView,
};

/// Before the founding all is empty.
pub(crate) fn cluster_to_proto(cluster: Option<&Cluster>) -> proto::ClusterRecord {
    cluster.map_or_else(proto::ClusterRecord::default, |cluster| proto::ClusterRecord {
        cluster_id: bytes_to_proto(&cluster.id.to_bytes()),
        token_key: bytes_to_proto(&cluster.token_key),
        epoch_base: cluster.epoch_base,
        next_node_id: cluster.next_node_id,
        feature_level: cluster.feature_level.0,
        registration: registration_to_proto(cluster.policy.registration).into(),
        record_ttl_ms: record_ttl_to_proto(cluster.policy.record_ttl),
    })
}

/// A cluster without what is said of groups: those are records of their own.
pub(crate) fn cluster_from_proto(record: &proto::ClusterRecord) -> Result<Option<Cluster>, CodecError> {
    if *record == proto::ClusterRecord::default() {
        return Ok(None);
    }
    let feature_level = FeatureLevel(record.feature_level);
    if feature_level > FeatureLevel::NEWEST {
        return Err(CodecError::LevelUnknown { level: feature_level, newest: FeatureLevel::NEWEST });
    }
    Ok(Some(Cluster {
        id: cluster_id_from_proto(&record.cluster_id)?,
        token_key: token_key_from_proto(&record.token_key)?,
        epoch_base: record.epoch_base,
        next_node_id: record.next_node_id,
        feature_level,
        policy: policy_from_proto(record)?,
        group_policies: Arc::default(),
        access_rules: None,
    }))
}

/// What is not said is as by default.
fn policy_from_proto(record: &proto::ClusterRecord) -> Result<Policy, CodecError> {
    let policy = Policy::default();
    Ok(Policy {
        registration: registration_from_proto(record.registration)?.unwrap_or(policy.registration),
        record_ttl: record_ttl_from_proto(record.record_ttl_ms).unwrap_or(policy.record_ttl),
    })
}

pub(crate) fn node_to_proto(node: &Node) -> proto::NodeRecord {
    let view = &node.view;
    let last = node.last_batch.as_ref();
    proto::NodeRecord {
        node_id: view.id.0,
        name: view.name.to_string(),
        storage_id: bytes_to_proto(&view.storage.to_bytes()),
        addresses: Some(addresses_to_proto(&view.addresses)),
        version: view.version.to_string(),
        incarnation: view.incarnation.0,
        boot_counter: view.boot.0,
        registration: node.registration.0,
        up: view.up,
        batch_number: node.batch_number().0,
        batch_index: last.map_or(0, |outcome| outcome.index.0),
        batch_refused: last
            .map(|outcome| outcome.refused.iter().map(refused_to_proto).collect())
            .unwrap_or_default(),
        floor: view.floor.map(log_floor_to_proto),
        draining: view.draining,
        suffrage_withheld: view.suffrage == Suffrage::Withheld,
        feature_level: view.feature_level.0,
    }
}

/// A node without its life, which belongs to the tables.
pub(crate) fn node_from_proto(record: proto::NodeRecord) -> Result<Node, CodecError> {
    let id = NodeId(record.node_id);
    let incarnation = Incarnation(record.incarnation);
    let view = NodeView {
        id,
        name: record.name.into(),
        storage: storage_id_from_proto(&record.storage_id)?,
        addresses: addresses_from_proto(record.addresses),
        version: record.version.into(),
        incarnation,
        boot: BootCounter(record.boot_counter),
        up: record.up,
        draining: record.draining,
        floor: record.floor.map(log_floor_from_proto),
        suffrage: if record.suffrage_withheld { Suffrage::Withheld } else { Suffrage::Automatic },
        feature_level: FeatureLevel(record.feature_level),
    };
    let refused = record.batch_refused.iter().map(refused_from_proto).collect::<Result<_, _>>()?;
    let last_batch = (record.batch_number != 0).then_some(BatchOutcome {
        node: id,
        incarnation,
        number: BatchNumber(record.batch_number),
        index: LogIndex(record.batch_index),
        refused,
    });
    Ok(Node { view, registration: Registration(record.registration), life: None, last_batch })
}

const OLDER_ATTACH: u32 = 1;
const EPOCH_MISMATCH: u32 = 2;
const DISABLED: u32 = 3;
const NOT_REGISTERED: u32 = 4;

fn refused_to_proto((position, rejection): &(u32, ChangeRejection)) -> proto::RefusedChange {
    let (reason, epoch) = match rejection {
        ChangeRejection::OlderAttach { newer } => (OLDER_ATTACH, newer.0),
        ChangeRejection::EpochMismatch { current } => (EPOCH_MISMATCH, current.0),
        ChangeRejection::Disabled => (DISABLED, 0),
        ChangeRejection::NotRegistered => (NOT_REGISTERED, 0),
    };
    proto::RefusedChange { position: *position, reason, epoch }
}

fn refused_from_proto(refused: &proto::RefusedChange) -> Result<(u32, ChangeRejection), CodecError> {
    let epoch = Epoch(refused.epoch);
    let rejection = match refused.reason {
        OLDER_ATTACH => ChangeRejection::OlderAttach { newer: epoch },
        EPOCH_MISMATCH => ChangeRejection::EpochMismatch { current: epoch },
        DISABLED => ChangeRejection::Disabled,
        NOT_REGISTERED => ChangeRejection::NotRegistered,
        _ => return Err(CodecError::UnknownKind("a refusal")),
    };
    Ok((refused.position, rejection))
}
