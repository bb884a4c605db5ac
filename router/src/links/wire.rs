//! Calls, replies and failures as they travel between nodes.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use rollcall_proto::{api, peer};
use rollcall_registry::model::ids::Epoch;

use crate::{
    core::device::Spent,
    delivery::DeviceReply,
    outcome::{Failure, Outcome, Reason, Stage},
    payload::Payload,
    sessions::host::Shared,
};

/// Metadata of a link: the cluster's id.
pub(crate) const CLUSTER_ID: &str = "rollcall-cluster-id";
/// Metadata of a link: the node that opens it.
pub(crate) const SOURCE_ID: &str = "rollcall-source-id";
/// Metadata of a link: the node that it means to reach.
pub(crate) const TARGET_ID: &str = "rollcall-target-id";

/// The 24 bytes by which a device knows a call.
pub(crate) fn token_bytes(token: &peer::CallToken) -> Bytes {
    let mut bytes = BytesMut::with_capacity(24);
    bytes.put_u64(token.origin);
    bytes.put_u64(token.incarnation);
    bytes.put_u64(token.call);
    bytes.freeze()
}

/// What a beat says of this node.
pub(crate) fn beat(shared: &Shared) -> peer::LinkBeat {
    let in_flight = shared.device_calls.load(Ordering::Relaxed);
    peer::LinkBeat { number: 0, in_flight, pressure_percent: shared.vitals.percent() }
}

/// A proto duration; absent if it is beyond what one can hold.
pub(crate) fn to_proto(duration: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(duration).ok()
}

/// The duration of a proto one; zero if it is absent or negative.
pub(crate) fn from_proto(duration: Option<prost_types::Duration>) -> Duration {
    duration.and_then(|duration| duration.try_into().ok()).unwrap_or_default()
}

/// A device's answer, without its payload.
pub(crate) fn reply_head(reply: &mut DeviceReply) -> peer::ForwardReply {
    peer::ForwardReply {
        payload: Bytes::new(),
        payload_bytes: reply.payload.len(),
        content_type: std::mem::take(&mut reply.content_type),
        metadata: std::mem::take(&mut reply.metadata),
        device_id: reply.device_id.to_string(),
        epoch: reply.epoch.0,
        queue: to_proto(reply.spent.queue),
        write: to_proto(reply.spent.write),
        device: to_proto(reply.spent.device),
    }
}

/// The reverse of [`reply_head`], with the payload that came with it or after it.
pub(crate) fn reply_of(head: Box<peer::ForwardReply>, payload: Payload) -> DeviceReply {
    DeviceReply {
        payload,
        content_type: head.content_type,
        metadata: head.metadata,
        device_id: head.device_id.into(),
        epoch: Epoch(head.epoch),
        spent: Spent {
            queue: from_proto(head.queue),
            write: from_proto(head.write),
            device: from_proto(head.device),
        },
    }
}

/// A failure for a peer. The gRPC code is the API's to choose.
pub(crate) fn failure_to_proto(failure: Failure) -> api::Failure {
    api::Failure {
        code: 0,
        reason: failure.reason.to_proto().into(),
        outcome: failure.outcome.to_proto().into(),
        message: failure.message.into_owned(),
        device_id: failure.device_id.map(Into::into).unwrap_or_default(),
        node: failure.node.map(Into::into).unwrap_or_default(),
        retry_after: failure.retry_after.and_then(to_proto),
        stage: failure.stage.map(Stage::as_str).unwrap_or_default().to_owned(),
    }
}

/// A failure from a peer.
pub(crate) fn failure_of_proto(failure: api::Failure) -> Failure {
    let named = |name: String| (!name.is_empty()).then(|| name.into());
    Failure {
        reason: Reason::from_proto(failure.reason()),
        outcome: Outcome::from_proto(failure.outcome()),
        stage: Stage::from_name(&failure.stage),
        retry_after: failure.retry_after.and_then(|pause| pause.try_into().ok()),
        message: failure.message.into(),
        device_id: named(failure.device_id),
        node: named(failure.node),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_way() {
        let mut failure = Failure::deadline(Stage::Write, Outcome::NotExecuted).on_device("d").on_node("n");
        failure.retry_after = Some(Duration::from_millis(1_500));
        assert_eq!(failure_of_proto(failure_to_proto(failure.clone())), failure);
    }
}
