//! What an administrator changes: devices' records, the rules for them, those for calls to groups, and who may do what.
//!
//! It goes straight to the leader, not through the batcher, which is for sessions.

use std::{sync::Arc, time::Duration};

use thiserror::Error;
use tokio::time::Instant;

use crate::{
    handle::Registrar,
    limits::{BATCH_RETRY, BATCH_RETRY_AFTER, CHANGE_PATIENCE},
    model::{
        command::{Command, DeleteDevice, PutDevice, SetAccessRules, SetGroupPolicy, SetPolicy},
        feature_level::FeatureLevel,
        ids::LogIndex,
        rejection::RecordRejection,
    },
    raft::{LeaderError, Proposed, Seated},
    registry::Registry,
};

/// A change by an administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Administration {
    /// Makes or changes a record.
    Put(PutDevice),
    /// Deletes a record.
    Delete(DeleteDevice),
    /// Changes the rules.
    SetPolicy(SetPolicy),
    /// Says what holds for calls to a group.
    SetGroupPolicy(SetGroupPolicy),
    /// Stores who may do what.
    SetAccessRules(SetAccessRules),
}

impl Administration {
    /// The command that is written to the log.
    pub fn into_command(self) -> Command {
        match self {
            Self::Put(put) => Command::PutDevice(put),
            Self::Delete(delete) => Command::DeleteDevice(delete),
            Self::SetPolicy(set) => Command::SetPolicy(set),
            Self::SetGroupPolicy(set) => Command::SetGroupPolicy(set),
            Self::SetAccessRules(set) => Command::SetAccessRules(set),
        }
    }
}

/// Why a change by an administrator was not made, or not surely.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AdministerError {
    /// No leader took it in time: it was not made.
    #[error("no leader can commit the change")]
    NoLeader {
        /// When to try again.
        retry_after: Duration,
    },
    /// A leader may have committed it, and did not say so in time.
    #[error("it is not known whether the change was made: read it again")]
    Unknown,
    /// It was made, and this node does not see it yet.
    #[error("the change was made at index {0}, which this node has not applied yet")]
    Behind(LogIndex),
    /// The record is not as it was expected to be.
    #[error(transparent)]
    Rejected(#[from] RecordRejection),
    /// Not every node can take part in such a change yet.
    #[error("nodes of an older version do not know such changes: upgrade every node, then ask again")]
    AboveLevel {
        /// What the change asks for.
        command: FeatureLevel,
        /// What the cluster has.
        cluster: FeatureLevel,
    },
    /// The cluster does not take such changes now; for people.
    #[error("{0}")]
    Refused(String),
    /// The node stops.
    #[error("the node stops")]
    Stopping,
}

impl Registry {
    /// Commits a change by an administrator, and waits until this node has applied it.
    ///
    /// Proposed again when a leader is lost: a repeat is recognised by the record's new etag.
    ///
    /// # Errors
    /// See [`AdministerError`].
    ///
    /// # Cancel safety
    /// Dropping the future does not undo the change.
    pub async fn administer(&self, change: Administration) -> Result<LogIndex, AdministerError> {
        let no_leader = AdministerError::NoLeader { retry_after: BATCH_RETRY_AFTER };
        let seated = self.inner.seated.get().ok_or(no_leader)?;
        let index = propose(seated, &Arc::new(change.into_command())).await?;
        let applied = self.wait_applied(index, CHANGE_PATIENCE).await;
        applied.map(|()| index).map_err(|_| AdministerError::Behind(index))
    }
}

async fn propose(seated: &Seated, command: &Arc<Command>) -> Result<LogIndex, AdministerError> {
    let until = Instant::now() + CHANGE_PATIENCE;
    let mut may_be_made = false;
    loop {
        match seated.leader.propose(command).await {
            Ok(Proposed::Committed(index)) => return Ok(index),
            Ok(Proposed::RecordRejected(rejection)) => {
                return rejected(seated, command, rejection, may_be_made).await;
            }
            Ok(Proposed::Rejected(reason)) => return Err(AdministerError::Refused(reason)),
            Err(LeaderError::NotLeader(_)) => {}
            // The level of a cluster that has just been founded is about to rise.
            Err(LeaderError::AboveLevel { command, cluster }) if Instant::now() >= until => {
                return Err(AdministerError::AboveLevel { command, cluster });
            }
            Err(LeaderError::AboveLevel { .. }) => {}
            Err(LeaderError::Unknown(reason)) => {
                tracing::debug!(reason, %command, "proposed again");
                may_be_made = true;
            }
            Err(error @ LeaderError::TooLarge(_)) => return Err(AdministerError::Refused(error.to_string())),
            Err(LeaderError::Stopped(_)) => return Err(AdministerError::Stopping),
        }
        if Instant::now() >= until {
            let no_leader = AdministerError::NoLeader { retry_after: BATCH_RETRY_AFTER };
            return Err(if may_be_made { AdministerError::Unknown } else { no_leader });
        }
        tokio::time::sleep(BATCH_RETRY).await;
    }
}

/// A record that is missing when its deletion is proposed again was deleted by the first time.
async fn rejected(
    seated: &Seated,
    command: &Command,
    rejection: RecordRejection,
    may_be_made: bool,
) -> Result<LogIndex, AdministerError> {
    let deleted = matches!((command, rejection), (Command::DeleteDevice(_), RecordRejection::Missing));
    if !(may_be_made && deleted) {
        return Err(rejection.into());
    }
    seated.leader.read_index().await.map_err(|_| AdministerError::Unknown)
}
