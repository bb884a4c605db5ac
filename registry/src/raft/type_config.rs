//! The types that openraft is instantiated with.

use std::fmt;

use super::logged_command::LoggedCommand;
use crate::model::response::Response;

/// A member, as the Raft configuration names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// Its stable name.
    pub name: String,
    /// Where its peers reached it when it joined; the registry knows newer addresses.
    pub peer_addr: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.peer_addr)
    }
}

/// What openraft's tasks run on.
#[cfg(not(feature = "simulation"))]
#[allow(deprecated, reason = "the same name by a dependency of our own would say no more")]
type Runtime = openraft::impls::TokioRuntime;
#[cfg(feature = "simulation")]
use super::seeded_runtime::SeededRuntime as Runtime;

openraft::declare_raft_types!(
    /// openraft's types for Rollcall. Commands are shared, because an entry is read by apply and by every replication
    /// stream; they carry their bytes, because every log and every follower gets the same.
    pub TypeConfig:
        D = LoggedCommand,
        R = Response,
        NodeId = u64,
        Node = Member,
        AsyncRuntime = Runtime,
);

/// A log entry.
pub type Entry = openraft::alias::EntryOf<TypeConfig>;
/// A log id.
pub type LogId = openraft::alias::LogIdOf<TypeConfig>;
/// A vote.
pub type Vote = openraft::alias::VoteOf<TypeConfig>;
/// The membership of an entry.
pub type Membership = openraft::Membership<u64, Member>;
/// The membership in force, with its log id.
pub type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
/// A snapshot.
pub type Snapshot = openraft::alias::SnapshotOf<TypeConfig, super::snapshot::SnapshotData>;
