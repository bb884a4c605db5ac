//! Changes of the membership, and their outcomes, as they cross the wire.

use rollcall_proto::peer::{
    self, MembershipRefusal, change_membership_request as request, change_membership_response as response,
};

use super::{consensus::LeaderError, operator::OperatorError};
use crate::{
    membership::change::{MembershipChange, MembershipChanged, MembershipError, Refusal},
    model::ids::{LogIndex, NodeId},
};

pub(super) fn change_to_proto(change: &MembershipChange) -> peer::ChangeMembershipRequest {
    let change = match change.clone() {
        MembershipChange::Remove(name) => request::Change::Remove(name),
        MembershipChange::Promote(name) => request::Change::Promote(name),
        MembershipChange::Demote(name) => request::Change::Demote(name),
        MembershipChange::TransferLeadership(to) => {
            request::Change::TransferLeadership(to.unwrap_or_default())
        }
    };
    peer::ChangeMembershipRequest { change: Some(change) }
}

/// The reverse of [`change_to_proto`]; `None`: of no kind that this version knows.
pub(super) fn change_from_proto(request: peer::ChangeMembershipRequest) -> Option<MembershipChange> {
    Some(match request.change? {
        request::Change::Remove(name) => MembershipChange::Remove(name),
        request::Change::Promote(name) => MembershipChange::Promote(name),
        request::Change::Demote(name) => MembershipChange::Demote(name),
        request::Change::TransferLeadership(to) => {
            MembershipChange::TransferLeadership(Some(to).filter(|to| !to.is_empty()))
        }
    })
}

/// What became of a change at the leader; `Err`: it cannot say.
pub(super) fn changed_to_proto(
    outcome: Result<MembershipChanged, OperatorError>,
) -> Result<peer::ChangeMembershipResponse, String> {
    let result = match outcome {
        Ok(changed) => response::Result::Changed(peer::MembershipChanged {
            node_id: changed.node.0,
            index: changed.index.0,
            term: changed.term,
            former_leader_id: changed.former_leader.map_or(0, |leader| leader.0),
        }),
        Err(OperatorError::Leader(LeaderError::NotLeader(leader))) => {
            response::Result::LeaderId(leader.map_or(0, |leader| leader.0))
        }
        Err(OperatorError::Refused(MembershipError::Refused { refusal, message })) => {
            response::Result::Refused(peer::MembershipRefused { reason: reason(refusal).into(), message })
        }
        Err(error @ (OperatorError::Leader(_) | OperatorError::Refused(_))) => return Err(error.to_string()),
    };
    Ok(peer::ChangeMembershipResponse { result: Some(result) })
}

pub(super) fn changed_from_proto(
    response: peer::ChangeMembershipResponse,
) -> Result<MembershipChanged, OperatorError> {
    let node = |id| (id != 0).then_some(NodeId(id));
    match response.result {
        Some(response::Result::Changed(changed)) => Ok(MembershipChanged {
            node: NodeId(changed.node_id),
            index: LogIndex(changed.index),
            term: changed.term,
            former_leader: node(changed.former_leader_id),
        }),
        Some(response::Result::LeaderId(leader)) => Err(LeaderError::NotLeader(node(leader)).into()),
        Some(response::Result::Refused(refused)) => match refusal(refused.reason()) {
            Some(refusal) => Err(refusal.because(refused.message).into()),
            None => Err(LeaderError::Unknown(refused.message).into()),
        },
        None => Err(LeaderError::Unknown("an empty answer".to_owned()).into()),
    }
}

fn reason(refusal: Refusal) -> MembershipRefusal {
    match refusal {
        Refusal::UnknownNode => MembershipRefusal::UnknownNode,
        Refusal::LastVoter => MembershipRefusal::LastVoter,
        Refusal::QuorumAtRisk => MembershipRefusal::QuorumAtRisk,
        Refusal::ChangeInProgress => MembershipRefusal::ChangeInProgress,
        Refusal::VotersComplete => MembershipRefusal::VotersComplete,
        Refusal::NotCaughtUp => MembershipRefusal::NotCaughtUp,
        Refusal::NotAVoter => MembershipRefusal::NotAVoter,
        Refusal::NotReachable => MembershipRefusal::NotReachable,
        Refusal::NoOtherVoter => MembershipRefusal::NoOtherVoter,
    }
}

fn refusal(reason: MembershipRefusal) -> Option<Refusal> {
    Some(match reason {
        MembershipRefusal::Unspecified => return None,
        MembershipRefusal::UnknownNode => Refusal::UnknownNode,
        MembershipRefusal::LastVoter => Refusal::LastVoter,
        MembershipRefusal::QuorumAtRisk => Refusal::QuorumAtRisk,
        MembershipRefusal::ChangeInProgress => Refusal::ChangeInProgress,
        MembershipRefusal::VotersComplete => Refusal::VotersComplete,
        MembershipRefusal::NotCaughtUp => Refusal::NotCaughtUp,
        MembershipRefusal::NotAVoter => Refusal::NotAVoter,
        MembershipRefusal::NotReachable => Refusal::NotReachable,
        MembershipRefusal::NoOtherVoter => Refusal::NoOtherVoter,
    })
}
