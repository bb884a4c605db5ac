//! Calls, replies and failures as they travel between nodes.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use rollcall_proto::{api, peer};
use rollcall_registry::model::ids::{DeviceKey, Epoch, Incarnation, NodeId};

use crate::{
    core::{device::Spent, token::CallToken},
    delivery::{DeviceReply, Replayed},
    outcome::{Failure, Outcome, Reason, Stage},
    payload::Payload,
    sessions::{host::Shared, replays::Question},
};

/// Metadata of a link: the cluster's id.
pub(crate) const CLUSTER_ID: &str = "rollcall-cluster-id";
/// Metadata of a link: the node that opens it.
pub(crate) const SOURCE_ID: &str = "rollcall-source-id";
/// Metadata of a link: the node that it means to reach.
pub(crate) const TARGET_ID: &str = "rollcall-target-id";

/// A call's name.
pub(crate) fn token_to_proto(token: CallToken) -> peer::CallToken {
    peer::CallToken { origin: token.origin.0, incarnation: token.incarnation.0, call: token.call }
}

/// A call's name; one that is absent names no call.
pub(crate) fn token_of(token: Option<peer::CallToken>) -> CallToken {
    let token = token.unwrap_or_default();
    CallToken { origin: NodeId(token.origin), incarnation: Incarnation(token.incarnation), call: token.call }
}

/// An answer for another node, and the payload that is not in it yet.
pub(crate) fn replay_to_proto(replayed: Replayed) -> (peer::ReplayedAnswer, Payload) {
    let Replayed { token, device, epoch, answer } = replayed;
    let (answer, payload) = match answer {
        Ok(mut reply) => {
            let head = reply_head(&mut reply);
            (peer::replayed_answer::Answer::Reply(head), reply.payload)
        }
        Err(failure) => {
            (peer::replayed_answer::Answer::Failure(failure_to_proto(failure)), Payload::default())
        }
    };
    let replay = peer::ReplayedAnswer {
        token: Some(token_to_proto(token)),
        namespace: device.namespace.to_string(),
        device_id: device.device.to_string(),
        epoch: epoch.0,
        answer: Some(answer),
    };
    (replay, payload)
}

/// The reverse of [`replay_to_proto`]; `None`: it says nothing.
pub(crate) fn replay_of(replay: peer::ReplayedAnswer, payload: Payload) -> Option<Replayed> {
    let answer = match replay.answer? {
        peer::replayed_answer::Answer::Reply(head) => Ok(reply_of(Box::new(head), payload)),
        peer::replayed_answer::Answer::Failure(failure) => Err(failure_of_proto(failure)),
    };
    Some(Replayed {
        token: token_of(replay.token),
        device: DeviceKey::new(&replay.namespace, &replay.device_id),
        epoch: Epoch(replay.epoch),
        answer,
    })
}

/// A question for another node.
pub(crate) fn question_to_proto(question: &Question) -> peer::AskCalls {
    peer::AskCalls {
        namespace: question.device.namespace.to_string(),
        device_id: question.device.device.to_string(),
        epoch: question.epoch.0,
        former_epoch: question.former_epoch.0,
        tokens: question.tokens.iter().map(|token| token_to_proto(*token)).collect(),
        doubted: false,
    }
}

/// A doubt whether a device still answers.
pub(crate) fn doubt_to_proto(device: &DeviceKey, epoch: Epoch) -> peer::AskCalls {
    peer::AskCalls {
        namespace: device.namespace.to_string(),
        device_id: device.device.to_string(),
        epoch: epoch.0,
        doubted: true,
        ..peer::AskCalls::default()
    }
}

/// A question of another node.
pub(crate) fn question_of(question: peer::AskCalls) -> Question {
    Question {
        device: DeviceKey::new(&question.namespace, &question.device_id),
        epoch: Epoch(question.epoch),
        former_epoch: Epoch(question.former_epoch),
        tokens: question.tokens.into_iter().map(|token| token_of(Some(token))).collect(),
    }
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

/// Less than this is not worth writing a remaining time anew.
const WAIT_COUNTED: Duration = Duration::from_millis(1);

/// A call has waited: its caller waits no longer for that.
pub(crate) fn deduct(call: &mut peer::ForwardCall, waited: Duration) {
    if waited >= WAIT_COUNTED {
        call.remaining = to_proto(from_proto(call.remaining).saturating_sub(waited));
    }
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
        through: None,
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
    fn an_answer_and_a_question_survive_the_way() {
        let token = CallToken { origin: NodeId(1), incarnation: Incarnation(2), call: 3 };
        let device = DeviceKey::new("n", "d");
        let reply = DeviceReply {
            payload: Bytes::from_static(b"payload").into(),
            content_type: "text/plain".into(),
            metadata: std::collections::HashMap::new(),
            device_id: "d".into(),
            epoch: Epoch(9),
            spent: Spent::default(),
            through: None,
        };
        let replayed = Replayed { token, device: device.clone(), epoch: Epoch(9), answer: Ok(reply) };
        let (proto, payload) = replay_to_proto(replayed);
        let there = replay_of(proto, payload).expect("it says something");
        assert_eq!((there.token, &there.device, there.epoch), (token, &device, Epoch(9)));
        assert_eq!(there.answer.expect("a reply").payload.into_bytes(), "payload");
        let question = Question { device, epoch: Epoch(10), former_epoch: Epoch(9), tokens: vec![token] };
        assert_eq!(question_of(question_to_proto(&question)), question);
    }

    #[test]
    fn a_failure_survives_the_way() {
        let mut failure = Failure::deadline(Stage::Write, Outcome::NotExecuted).on_device("d").on_node("n");
        failure.retry_after = Some(Duration::from_millis(1_500));
        assert_eq!(failure_of_proto(failure_to_proto(failure.clone())), failure);
    }
}
