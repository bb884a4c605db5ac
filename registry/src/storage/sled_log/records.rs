//! The small records beside the entries: the vote, log ids and the sequence, as they lie in sled.

use prost::Message;
use rollcall_proto::storage as proto;

use crate::storage::{
    StoredLogId, StoredVote,
    seal::{SealError, seal, unseal},
};

const FORMAT: u32 = 1;

/// A record that has a place in sled.
pub(super) trait Record: Sized {
    fn to_sealed(&self) -> Vec<u8>;
    fn from_sealed(sealed: &[u8]) -> Result<Self, SealError>;
}

impl Record for StoredVote {
    fn to_sealed(&self) -> Vec<u8> {
        let vote = proto::Vote { term: self.term, node: self.node, committed: self.committed };
        seal(FORMAT, &vote.encode_to_vec())
    }

    fn from_sealed(sealed: &[u8]) -> Result<Self, SealError> {
        let vote = proto::Vote::decode(unseal(FORMAT, sealed)?).map_err(|_| SealError::Payload)?;
        Ok(Self { term: vote.term, node: vote.node, committed: vote.committed })
    }
}

impl Record for StoredLogId {
    fn to_sealed(&self) -> Vec<u8> {
        let log_id = proto::LogId { term: self.term, leader: self.leader, index: self.index };
        seal(FORMAT, &log_id.encode_to_vec())
    }

    fn from_sealed(sealed: &[u8]) -> Result<Self, SealError> {
        let log_id = proto::LogId::decode(unseal(FORMAT, sealed)?).map_err(|_| SealError::Payload)?;
        Ok(Self { term: log_id.term, leader: log_id.leader, index: log_id.index })
    }
}

impl Record for u64 {
    fn to_sealed(&self) -> Vec<u8> {
        seal(FORMAT, &self.to_le_bytes())
    }

    fn from_sealed(sealed: &[u8]) -> Result<Self, SealError> {
        unseal(FORMAT, sealed)?.try_into().map(Self::from_le_bytes).map_err(|_| SealError::Payload)
    }
}
