//! Raft's own records as `rollcall.storage.v1` has them: log ids, votes, memberships and entries. Commands are converted
//! in [`crate::codec`].

use bytes::Bytes;
use openraft::{EntryPayload, vote::leader_id_adv::LeaderId};
use prost::Message;
use rollcall_proto::storage as proto;
use thiserror::Error;

use super::{
    logged_command::LoggedCommand,
    type_config::{Entry, LogId, Member, Membership, Vote},
};
use crate::codec::CodecError;

/// A record that cannot be read.
#[derive(Debug, Error)]
pub enum EntryCodecError {
    /// It is no protocol buffer of its kind.
    #[error("a Raft record cannot be decoded: {0}")]
    Decode(#[from] prost::DecodeError),
    /// A field without which it has no meaning is absent.
    #[error("a Raft record has no {0}")]
    Missing(&'static str),
    /// It says two things.
    #[error("an entry is both a command and a membership")]
    TwoPayloads,
    /// A membership names a voter that is no member.
    #[error("a membership is contradictory: {0}")]
    Membership(String),
    /// A peer's entry that no log takes: to take it up would stop this node.
    #[error("an entry has {bytes} bytes, at most {limit} are possible")]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// What is possible.
        limit: usize,
    },
    /// The command cannot be read.
    #[error(transparent)]
    Command(#[from] CodecError),
}

impl From<EntryCodecError> for std::io::Error {
    fn from(error: EntryCodecError) -> Self {
        Self::other(error)
    }
}

/// `rollcall.storage.v1.Entry`, field for field, with the command left as the bytes that it is.
#[derive(Clone, PartialEq, Message)]
struct WrittenEntry {
    #[prost(message, optional, tag = "1")]
    log_id: Option<proto::LogId>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    command: Option<Bytes>,
    #[prost(message, optional, tag = "3")]
    membership: Option<proto::Membership>,
}

/// The stored form of an entry, as it lies in the log and goes to peers.
pub fn encode_entry(entry: &Entry) -> Bytes {
    let (command, membership) = match &entry.payload {
        EntryPayload::Blank => (None, None),
        EntryPayload::Normal(command) => (Some(command.bytes().clone()), None),
        EntryPayload::Membership(membership) => (None, Some(membership_to_proto(membership))),
    };
    let log_id = Some(log_id_to_proto(&entry.log_id));
    WrittenEntry { log_id, command, membership }.encode_to_vec().into()
}

/// The reverse of [`encode_entry`]. The entry keeps these bytes.
///
/// # Errors
/// If the bytes are not an entry that this version knows.
pub fn decode_entry(bytes: Bytes) -> Result<Entry, EntryCodecError> {
    let entry = WrittenEntry::decode(bytes)?;
    let log_id = log_id_from_proto(entry.log_id.ok_or(EntryCodecError::Missing("log id"))?);
    let payload = match (entry.command, entry.membership) {
        (None, None) => EntryPayload::Blank,
        (Some(command), None) => EntryPayload::Normal(LoggedCommand::read(command)?),
        (None, Some(membership)) => EntryPayload::Membership(membership_from_proto(membership)?),
        (Some(_), Some(_)) => return Err(EntryCodecError::TwoPayloads),
    };
    Ok(Entry { log_id, payload })
}

/// The stored form of a log id.
pub fn log_id_to_proto(log_id: &LogId) -> proto::LogId {
    proto::LogId { term: log_id.leader_id.term, leader: log_id.leader_id.node_id, index: log_id.index }
}

/// The log id of a stored form.
pub fn log_id_from_proto(log_id: proto::LogId) -> LogId {
    LogId { leader_id: LeaderId { term: log_id.term, node_id: log_id.leader }, index: log_id.index }
}

/// The stored form of a vote.
pub fn vote_to_proto(vote: &Vote) -> proto::Vote {
    proto::Vote { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
}

/// The vote of a stored form.
pub fn vote_from_proto(vote: proto::Vote) -> Vote {
    Vote { leader_id: LeaderId { term: vote.term, node_id: vote.node }, committed: vote.committed }
}

/// The stored form of a membership.
pub fn membership_to_proto(membership: &Membership) -> proto::Membership {
    let configs = membership.get_joint_config().iter();
    let members = membership.nodes().map(|(&id, member)| {
        (id, proto::Member { name: member.name.clone(), peer_addr: member.peer_addr.clone() })
    });
    proto::Membership {
        configs: configs.map(|voters| proto::VoterSet { ids: voters.iter().copied().collect() }).collect(),
        members: members.collect(),
    }
}

/// The membership of a stored form.
///
/// # Errors
/// If it names a voter that is no member, or has a set of voters that is empty.
pub fn membership_from_proto(membership: proto::Membership) -> Result<Membership, EntryCodecError> {
    let configs = membership.configs.into_iter().map(|voters| voters.ids.into_iter().collect());
    let members = membership
        .members
        .into_iter()
        .map(|(id, member)| (id, Member { name: member.name, peer_addr: member.peer_addr }));
    let members: std::collections::BTreeMap<u64, Member> = members.collect();
    Membership::new(configs.collect(), members)
        .map_err(|error| EntryCodecError::Membership(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use openraft::Entry as RaftEntry;

    use super::*;
    use crate::model::{
        command::{Command, NodeDown, NodeDownReason},
        ids::{Incarnation, NodeId, UnixMillis},
    };

    fn log_id() -> LogId {
        LogId { leader_id: LeaderId { term: 5, node_id: 3 }, index: 77 }
    }

    fn joint() -> Membership {
        let member = |id: u64| Member { name: format!("n{id}"), peer_addr: format!("h{id}:7402") };
        let members: BTreeMap<u64, Member> = (1..=4).map(|id| (id, member(id))).collect();
        Membership::new(vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3])], members).unwrap()
    }

    #[test]
    fn entries_of_each_kind_come_back() {
        let (node, incarnation, at) = (NodeId(2), Incarnation(9), UnixMillis(5));
        let down = NodeDown { node, incarnation, reason: NodeDownReason::Stopped, at, floor: None };
        let payloads = [
            EntryPayload::Blank,
            EntryPayload::Normal(Command::NodeDown(down).into()),
            EntryPayload::Membership(joint()),
        ];
        for payload in payloads {
            let entry: Entry = RaftEntry { log_id: log_id(), payload };
            let bytes = encode_entry(&entry);
            assert!(proto::Entry::decode(bytes.clone()).is_ok());
            assert_eq!(decode_entry(bytes).unwrap(), entry);
        }
    }

    #[test]
    fn votes_come_back() {
        let vote = Vote { leader_id: LeaderId { term: 5, node_id: 3 }, committed: true };
        assert_eq!(vote_from_proto(vote_to_proto(&vote)), vote);
    }

    #[test]
    fn an_entry_without_a_place_is_refused() {
        assert!(matches!(decode_entry(Bytes::new()), Err(EntryCodecError::Missing("log id"))));
    }

    #[test]
    fn a_voter_that_is_no_member_is_refused() {
        let mut membership = membership_to_proto(&joint());
        membership.members.remove(&2);
        assert!(matches!(membership_from_proto(membership), Err(EntryCodecError::Membership(_))));
    }
}
