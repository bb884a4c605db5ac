//! The registry as the rest of a node sees it: the only way in.

use std::{sync::Arc, time::Duration};

use thiserror::Error;

use crate::{
    model::{
        command::OpenSession,
        event::Event,
        ids::{DeviceKey, Epoch, Incarnation, LogIndex, NodeId},
        profile::Profile,
        rejection::ChangeRejection,
    },
    routes::Routes,
};

/// A session was opened: committed, and applied on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The session's epoch.
    pub epoch: Epoch,
    /// The entry that opened it.
    pub index: LogIndex,
}

/// Why a change of a session did not happen.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChangeError {
    /// No leader could commit it in time. The change may still happen; the batch is numbered, so it happens once.
    #[error("no leader can commit the change")]
    NoLeader {
        /// When to try again.
        retry_after: Duration,
    },
    /// Too many changes wait already.
    #[error("too many changes wait for the registry")]
    QueueFull {
        /// When to try again.
        retry_after: Duration,
    },
    /// The registry refused it.
    #[error(transparent)]
    Rejected(#[from] ChangeRejection),
    /// It takes more of the log than any one change may: it would never be committed.
    #[error("the change takes {bytes} bytes of the log, at most {limit} are possible")]
    TooLarge {
        /// What it would take.
        bytes: usize,
        /// What is possible.
        limit: usize,
    },
    /// The node lost its lease and registers again; try again.
    #[error("the node registers again")]
    Lapsed,
    /// The node stops.
    #[error("the node stops")]
    Stopping,
}

/// Why a read could not be as fresh as asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// No leader confirmed its index.
    #[error("no leader confirms the read")]
    NoLeader,
    /// This node did not get there in time.
    #[error("this node has applied {applied} and was asked for {wanted}")]
    Behind {
        /// What it has.
        applied: LogIndex,
        /// What was asked for.
        wanted: LogIndex,
    },
}

/// Follows the log as this node applies it.
///
/// Called from apply, in order, after the rows have changed. Must not block: it holds up every later change.
pub trait ApplyObserver: Send + Sync + 'static {
    /// An entry took effect.
    fn applied(&self, index: LogIndex, events: &[Event]);
    /// The rows were replaced by a snapshot's: compare them with what you hold.
    fn snapshot_installed(&self, index: LogIndex);
}

/// The part of a registry that device sessions need.
///
/// A trait so that the router's tests run against the bare model; [`crate::Registry`] is the real one.
pub trait Registrar: Send + Sync + 'static {
    /// Opens a session on this node.
    ///
    /// # Errors
    /// See [`ChangeError`].
    ///
    /// # Cancel safety
    /// Dropping the future does not undo the change: close the session that [`ApplyObserver`] then reports.
    fn open(
        &self,
        device: DeviceKey,
        open: OpenSession,
    ) -> impl Future<Output = Result<Opened, ChangeError>> + Send;

    /// Replaces a session's profile.
    ///
    /// # Errors
    /// See [`ChangeError`].
    fn update(
        &self,
        device: DeviceKey,
        epoch: Epoch,
        profile: Arc<Profile>,
    ) -> impl Future<Output = Result<LogIndex, ChangeError>> + Send;

    /// Closes a session, if it still has this epoch. Queued; when the queue is full the lease's end does it.
    fn close(&self, device: DeviceKey, epoch: Epoch);

    /// The read side.
    fn routes(&self) -> &Routes;

    /// This node.
    fn node(&self) -> NodeId;

    /// This node's incarnation; 0 while it is not registered.
    fn incarnation(&self) -> Incarnation;

    /// Whether this node's lease holds now: a node without it takes no forwarded calls and no new devices.
    fn lease_held(&self) -> bool;

    /// Waits until this node has applied `index`, at most `patience`.
    ///
    /// # Errors
    /// [`ReadError::Behind`].
    fn wait_applied(
        &self,
        index: LogIndex,
        patience: Duration,
    ) -> impl Future<Output = Result<(), ReadError>> + Send;
}
