//! Refusals: values that are replicated like any other result, not faults.

use thiserror::Error;

use super::{
    feature_level::FeatureLevel,
    ids::{Epoch, Etag, NodeId},
};
use crate::limits::GROUP_POLICIES;

/// Why a change of a session was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ChangeRejection {
    /// The same instance has attached since with a higher number: the device itself wants the other session.
    #[error("the device attached again since, as epoch {newer}")]
    OlderAttach {
        /// The session that stands.
        newer: Epoch,
    },
    /// The row no longer has the epoch that the change names.
    #[error("the session is at epoch {current}")]
    EpochMismatch {
        /// The epoch in the row; 0: none.
        current: Epoch,
    },
    /// An administrator disabled the device.
    #[error("the device is disabled")]
    Disabled,
    /// Only devices with a record may attach, and this one has none.
    #[error("the device is not registered, and only registered ones may attach")]
    NotRegistered,
}

/// Why a change of a device's record was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordRejection {
    /// There is a record already.
    #[error("the device has a record already")]
    Exists {
        /// Its etag.
        etag: Etag,
    },
    /// There is none.
    #[error("the device has no record")]
    Missing,
    /// The record has changed since.
    #[error("the record has changed since")]
    EtagMismatch {
        /// Its etag.
        current: Etag,
    },
}

/// Why a whole command was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommandRejection {
    /// The cluster is founded already.
    #[error("the cluster is founded already")]
    AlreadyFounded,
    /// There is no cluster yet.
    #[error("the cluster is not founded yet")]
    NotFounded,
    /// No node has this id.
    #[error("node {0} is not a member")]
    UnknownNode(NodeId),
    /// The name belongs to a node with another data folder.
    #[error(
        "the name {name} belongs to node {node}, which has another data folder: if {name} lost its disk, remove node \
         {node}, then start again (rollcall nodes remove {name}); if both exist, give this one another name"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// The node that has it.
        node: NodeId,
    },
    /// The node's data folder is not the one it was admitted with.
    #[error("node {0} has another data folder: it lost its disk; remove it, then start again")]
    StorageMismatch(NodeId),
    /// A newer start or registration of the node is known.
    #[error("node {0} has registered again since")]
    OlderRegistration(NodeId),
    /// The incarnation is over.
    #[error("the incarnation of node {0} is over")]
    DeadIncarnation(NodeId),
    /// A node that was counted on is down, has begun another life, or is about to stop as well.
    #[error("node {0} is down or about to stop, or has just started")]
    NotInTurn(NodeId),
    /// The node cannot read what the cluster writes.
    #[error(
        "the cluster is at feature level {cluster}, which never falls, and the node takes part in levels up to {known}: \
         start a newer version, or raise or remove max_feature_level"
    )]
    LevelTooLow {
        /// The cluster's level.
        cluster: FeatureLevel,
        /// The newest that the node can take part in.
        known: FeatureLevel,
    },
    /// A node was admitted, or began another life, since the members' levels were looked at.
    #[error("node {0} has started or was admitted since")]
    NotJudged(NodeId),
    /// The batch is not the node's next one.
    #[error("batch out of order: expected {expected}")]
    BatchOutOfOrder {
        /// The number that would be accepted.
        expected: u64,
    },
    /// The batch has more changes than an epoch can number.
    #[error("the batch has {changes} changes, more than an epoch can number")]
    BatchTooLarge {
        /// How many it has.
        changes: u64,
    },
    /// Something was said of as many groups as may be.
    #[error("{GROUP_POLICIES} groups have a policy already")]
    TooManyGroupPolicies,
    /// A device's record is not as the command expects it.
    #[error(transparent)]
    Record(#[from] RecordRejection),
}
