//! Who speaks to whom: cluster and node ids in the metadata of every request between nodes.
//!
//! Ids of another cluster, or of another node at a reused address, are refused before anything else is looked at.

use tonic::{Status, metadata::MetadataMap};
use tonic_types::{ErrorDetails, StatusExt};

use crate::model::ids::{ClusterId, NodeId};

/// The cluster that the sender belongs to, 32 hex digits.
pub(super) const CLUSTER_ID: &str = "rollcall-cluster-id";
/// The sender's node id, decimal.
pub(super) const SOURCE_ID: &str = "rollcall-source-id";
/// The node id that the sender means to reach, decimal.
pub(super) const TARGET_ID: &str = "rollcall-target-id";

/// The ErrorInfo reason of every answer to a node that was removed.
pub(super) const REMOVED: &str = "REMOVED";

/// A node's place in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node's id there.
    pub node: NodeId,
}

impl Seat {
    /// Writes who speaks to whom into a request's metadata.
    pub fn sign(&self, target: NodeId, metadata: &mut MetadataMap) {
        let fields = [
            (CLUSTER_ID, self.cluster.to_string()),
            (SOURCE_ID, self.node.to_string()),
            (TARGET_ID, target.to_string()),
        ];
        for (key, value) in fields {
            if let Ok(value) = value.parse() {
                metadata.insert(key, value);
            }
        }
    }

    /// Checks that a request comes from this cluster and is meant for this node; returns who sent it.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` with ErrorInfo reason `WRONG_CLUSTER` or `WRONG_NODE`; `INVALID_ARGUMENT` where the metadata
    /// is missing or malformed.
    #[allow(clippy::result_large_err)]
    pub fn verify(&self, metadata: &MetadataMap) -> Result<NodeId, Status> {
        let cluster = field(metadata, CLUSTER_ID)?;
        if cluster != self.cluster.to_string() {
            return Err(mismatch(
                "WRONG_CLUSTER",
                format!("this node belongs to cluster {}, the request to cluster {cluster}", self.cluster),
            ));
        }
        let target = number(metadata, TARGET_ID)?;
        if target != self.node {
            let message = format!("this is node {}, the request is meant for node {target}", self.node);
            return Err(mismatch("WRONG_NODE", message));
        }
        number(metadata, SOURCE_ID)
    }
}

#[allow(clippy::result_large_err)]
fn field<'a>(metadata: &'a MetadataMap, key: &str) -> Result<&'a str, Status> {
    metadata
        .get(key)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| Status::invalid_argument(format!("the metadata {key} is missing")))
}

#[allow(clippy::result_large_err)]
fn number(metadata: &MetadataMap, key: &str) -> Result<NodeId, Status> {
    let value = field(metadata, key)?;
    value
        .parse()
        .map(NodeId)
        .map_err(|_| Status::invalid_argument(format!("the metadata {key} is not a number")))
}

/// The refusal of a request from a node that was removed.
pub(super) fn removed(node: NodeId) -> Status {
    mismatch(REMOVED, format!("node {node} was removed from the cluster"))
}

fn mismatch(reason: &str, message: String) -> Status {
    let details = ErrorDetails::with_error_info(reason, "rollcall", []);
    Status::with_error_details(tonic::Code::FailedPrecondition, message, details)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(cluster: u128, node: u64) -> Seat {
        Seat { cluster: ClusterId(cluster), node: NodeId(node) }
    }

    fn request(from: Seat, target: u64) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        from.sign(NodeId(target), &mut metadata);
        metadata
    }

    #[test]
    fn a_request_of_the_same_cluster_for_this_node_is_let_in() {
        assert_eq!(seat(7, 1).verify(&request(seat(7, 2), 1)).unwrap(), NodeId(2));
    }

    #[test]
    fn a_request_of_another_cluster_is_refused() {
        let refused = seat(7, 1).verify(&request(seat(8, 2), 1)).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
        assert_eq!(refused.get_error_details().error_info().unwrap().reason, "WRONG_CLUSTER");
    }

    #[test]
    fn a_request_for_another_node_is_refused() {
        let refused = seat(7, 1).verify(&request(seat(7, 2), 3)).unwrap_err();
        assert_eq!(refused.get_error_details().error_info().unwrap().reason, "WRONG_NODE");
    }

    #[test]
    fn a_request_without_metadata_is_refused() {
        let refused = seat(7, 1).verify(&MetadataMap::new()).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    }
}
