//! openraft's messages as `rollcall.peer.v1`, and back.

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, VoteRequest, VoteResponse,
};
use rollcall_proto::{peer, storage};

pub(super) use super::entry_codec::{log_id_from_proto, log_id_to_proto, vote_to_proto};
use super::{
    entry_codec::{self, EntryCodecError, decode_entry, encode_entry},
    type_config::{Entry, TypeConfig, Vote},
};
use crate::limits::LOG_ENTRY_BYTES;

/// A vote that must be there.
pub(super) fn vote_from_proto(vote: Option<storage::Vote>) -> Result<Vote, EntryCodecError> {
    vote.map(entry_codec::vote_from_proto).ok_or(EntryCodecError::Missing("vote"))
}

pub(super) fn vote_request_to_proto(request: &VoteRequest<TypeConfig>) -> peer::VoteRequest {
    peer::VoteRequest {
        vote: Some(vote_to_proto(&request.vote)),
        last_log_id: request.last_log_id.as_ref().map(log_id_to_proto),
        leadership_transfer: request.leadership_transfer,
    }
}

pub(super) fn vote_request_from_proto(
    request: peer::VoteRequest,
) -> Result<VoteRequest<TypeConfig>, EntryCodecError> {
    let mut typed =
        VoteRequest::new(vote_from_proto(request.vote)?, request.last_log_id.map(log_id_from_proto));
    typed.leadership_transfer = request.leadership_transfer;
    Ok(typed)
}

pub(super) fn vote_response_to_proto(response: &VoteResponse<TypeConfig>) -> peer::VoteResponse {
    peer::VoteResponse {
        vote: Some(vote_to_proto(&response.vote)),
        granted: response.vote_granted,
        last_log_id: response.last_log_id.as_ref().map(log_id_to_proto),
    }
}

pub(super) fn vote_response_from_proto(
    response: peer::VoteResponse,
) -> Result<VoteResponse<TypeConfig>, EntryCodecError> {
    let vote = vote_from_proto(response.vote)?;
    Ok(VoteResponse::new(vote, response.last_log_id.map(log_id_from_proto), response.granted))
}

pub(super) fn append_request_to_proto(request: &AppendEntriesRequest<TypeConfig>) -> peer::AppendRequest {
    peer::AppendRequest {
        vote: Some(vote_to_proto(&request.vote)),
        prev_log_id: request.prev_log_id.as_ref().map(log_id_to_proto),
        leader_commit: request.leader_commit.as_ref().map(log_id_to_proto),
        entries: request.entries.iter().map(encode_entry).collect(),
    }
}

pub(super) fn append_request_from_proto(
    request: peer::AppendRequest,
) -> Result<AppendEntriesRequest<TypeConfig>, EntryCodecError> {
    Ok(AppendEntriesRequest {
        vote: vote_from_proto(request.vote)?,
        prev_log_id: request.prev_log_id.map(log_id_from_proto),
        leader_commit: request.leader_commit.map(log_id_from_proto),
        entries: request.entries.into_iter().map(received_entry).collect::<Result<_, _>>()?,
    })
}

/// Leaders judge what they propose, and other versions of them may judge otherwise: this node's log has its own bound.
fn received_entry(bytes: Bytes) -> Result<Entry, EntryCodecError> {
    if bytes.len() > LOG_ENTRY_BYTES {
        return Err(EntryCodecError::TooLarge { bytes: bytes.len(), limit: LOG_ENTRY_BYTES });
    }
    decode_entry(bytes)
}

pub(super) fn append_result_to_proto(result: &StreamAppendResult<TypeConfig>) -> peer::AppendResponse {
    use peer::append_response::Result as Kind;
    let kind = match result {
        Ok(matching) => {
            Kind::Success(peer::AppendSuccess { matching: matching.as_ref().map(log_id_to_proto) })
        }
        Err(StreamAppendError::Conflict(expected)) => {
            Kind::Conflict(peer::AppendConflict { expected: Some(log_id_to_proto(expected)) })
        }
        Err(StreamAppendError::HigherVote(vote)) => Kind::HigherVote(vote_to_proto(vote)),
    };
    peer::AppendResponse { result: Some(kind) }
}

pub(super) fn append_result_from_proto(
    response: peer::AppendResponse,
) -> Result<StreamAppendResult<TypeConfig>, EntryCodecError> {
    use peer::append_response::Result as Kind;
    Ok(match response.result.ok_or(EntryCodecError::Missing("result"))? {
        Kind::Success(success) => Ok(success.matching.map(log_id_from_proto)),
        Kind::Conflict(conflict) => Err(StreamAppendError::Conflict(log_id_from_proto(
            conflict.expected.ok_or(EntryCodecError::Missing("expected"))?,
        ))),
        Kind::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote_from_proto(Some(vote))?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(entry: Vec<u8>) -> peer::AppendRequest {
        let vote = Some(storage::Vote { term: 1, node: 1, committed: true });
        peer::AppendRequest { vote, entries: vec![entry.into()], ..Default::default() }
    }

    #[test]
    fn a_leaders_entry_that_no_log_takes_is_refused_before_the_log() {
        let refused = append_request_from_proto(append(vec![0; LOG_ENTRY_BYTES + 1])).unwrap_err();
        assert!(matches!(refused, EntryCodecError::TooLarge { limit: LOG_ENTRY_BYTES, .. }), "{refused}");
        let other = append_request_from_proto(append(vec![0; LOG_ENTRY_BYTES])).unwrap_err();
        assert!(!matches!(other, EntryCodecError::TooLarge { .. }), "{other}");
    }
}
